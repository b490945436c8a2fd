from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lineup.backends.device import Device, DeviceKind
from lineup.backends.onnxrt import runner_from_onnx
from lineup.bundles.bundle import open_bundle
from lineup.bundles.manifest import Precision, TensorSpec
from lineup.errors import BundleNotFoundError, ParityError, UsageError
from lineup_export.component import ExportOptions
from lineup_export.fingerprint import (
    bundle_from_checkpoint,
    graph_from_checkpoint,
    parity_of_graph,
)
from lineup_export.graph import OnnxGraph
from lineup_models.fingerprint.checkpoint import Checkpoint, write_checkpoint
from lineup_models.fingerprint.graph import Fingerprint
from lineup_models.fingerprint.spec import SpectrumSpec, spectrum_to_dict


@pytest.mark.usefixtures("exports_small_graph")
def test_the_bundle_computes_what_torch_computes(
    checkpoint_folder: Path, small_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    bundle = bundle_from_checkpoint(checkpoint_folder, tmp_path / "b", ExportOptions())
    tiles = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    weights = np.array([[0.5, 0.5, 0, 0, 0], [0, 0, 1, 0, 0]], np.float32)

    with runner_from_onnx(bundle.graph_path("fingerprint"), Device(DeviceKind.CPU)) as runner:
        found = runner.run({"tiles": tiles, "tile_weights": weights})

    module = Fingerprint(small_checkpoint.spec, small_checkpoint.whitening)
    expected, strengths = module(torch.from_numpy(tiles), torch.from_numpy(weights))
    np.testing.assert_allclose(found["fingerprint"], expected, atol=2e-6)
    np.testing.assert_allclose(found["strength"], strengths, rtol=1e-5)


@pytest.mark.usefixtures("exports_small_graph")
def test_the_manifest_says_what_the_runtime_needs(
    checkpoint_folder: Path, small_spec: SpectrumSpec, tmp_path: Path
) -> None:
    options = ExportOptions()
    bundle_from_checkpoint(checkpoint_folder, tmp_path / "b", options, name="mine", max_tiles=4)

    bundle = open_bundle(tmp_path / "b")

    manifest, graph = bundle.manifest, bundle.manifest.graphs["fingerprint"]
    assert (manifest.name, manifest.kind, manifest.precision) == ("mine", "fingerprint", "fp32")
    assert bundle.preprocess("tile_size_px") == 32
    assert bundle.preprocess("max_tiles") == 4
    assert manifest.fingerprint is not None
    assert manifest.fingerprint.dimension == small_spec.fingerprint_dimension
    assert manifest.fingerprint.details == spectrum_to_dict(small_spec)
    assert graph.inputs == (
        TensorSpec("tiles", "uint8", ("tiles", 32, 32, 3)),
        TensorSpec("tile_weights", "float32", ("images", "tiles")),
    )
    assert graph.outputs == (
        TensorSpec("fingerprint", "float32", ("images", small_spec.fingerprint_dimension)),
        TensorSpec("strength", "float32", ("images",)),
    )
    assert 0 < graph.parity.value <= graph.parity.tolerance == 1e-4
    assert manifest.source.details["photographs"] == 9


def test_exporting_twice_gives_the_same_graph(
    small_checkpoint: Checkpoint, small_graph: OnnxGraph
) -> None:
    assert graph_from_checkpoint(small_checkpoint, opset=18) == small_graph


@pytest.mark.usefixtures("exports_small_graph")
def test_the_same_graph_gives_the_same_bundle(checkpoint_folder: Path, tmp_path: Path) -> None:
    first, second = (
        bundle_from_checkpoint(checkpoint_folder, tmp_path / name, ExportOptions()) for name in "ab"
    )

    assert first.digest == second.digest
    raw = [json.loads((tmp_path / name / "manifest.json").read_text()) for name in "ab"]
    assert raw[0] == raw[1]


@pytest.mark.usefixtures("exports_small_graph")
def test_without_parity_there_is_no_bundle(small_checkpoint: Checkpoint, tmp_path: Path) -> None:
    shifted = replace(small_checkpoint.whitening, mean=small_checkpoint.whitening.mean * 1.001)
    write_checkpoint(replace(small_checkpoint, whitening=shifted), tmp_path / "checkpoint")
    before = sorted(tmp_path.iterdir())

    with pytest.raises(ParityError, match="No bundle was written"):
        bundle_from_checkpoint(tmp_path / "checkpoint", tmp_path / "b", ExportOptions())

    assert sorted(tmp_path.iterdir()) == before


def test_a_strength_of_another_unit_is_no_parity(
    small_checkpoint: Checkpoint, small_graph: OnnxGraph
) -> None:
    fit = small_checkpoint.whitening
    scaled = replace(fit, floor=4 * fit.floor, variances=4 * fit.variances)

    with pytest.raises(ParityError, match="strength"):
        parity_of_graph(small_graph, replace(small_checkpoint, whitening=scaled), tolerance=1e-4)


@pytest.mark.usefixtures("exports_small_graph")
def test_an_existing_bundle_is_kept_unless_told(checkpoint_folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "b"
    bundle_from_checkpoint(checkpoint_folder, target, ExportOptions(), name="first")

    with pytest.raises(UsageError, match="exists already"):
        bundle_from_checkpoint(checkpoint_folder, target, ExportOptions())
    assert open_bundle(target).manifest.name == "first"

    options = ExportOptions(overwrite=True)
    bundle_from_checkpoint(checkpoint_folder, target, options, name="second")
    assert open_bundle(target).manifest.name == "second"


def test_fp16_halves_the_axes_and_keeps_the_spectrum(
    checkpoint_folder: Path, tmp_path: Path
) -> None:
    wide = bundle_from_checkpoint(checkpoint_folder, tmp_path / "wide", ExportOptions())
    options = ExportOptions(precision=Precision.FP16)
    narrow = bundle_from_checkpoint(checkpoint_folder, tmp_path / "narrow", options)

    assert narrow.manifest.size_bytes < wide.manifest.size_bytes
    assert narrow.manifest.precision is Precision.FP16
    errors = [one.manifest.graphs["fingerprint"].parity.value for one in (wide, narrow)]
    assert 5 * errors[0] < errors[1] < 1e-2


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleNotFoundError, match="no checkpoint"):
        bundle_from_checkpoint(tmp_path, tmp_path / "b", ExportOptions())


def test_the_graph_of_the_default_settings_is_lean(
    default_checkpoint: Checkpoint, default_graph: OnnxGraph
) -> None:
    parity = parity_of_graph(default_graph, default_checkpoint, tolerance=1e-4)

    assert parity.value < 2e-5
    assert len(default_graph.onnx) < 40_000
    # Axes once, and the matrices of the transform: nothing was folded into copies.
    assert sum(map(len, default_graph.weights.values())) < 4 * (5016 * 130 + 4 * 258 * 256)
