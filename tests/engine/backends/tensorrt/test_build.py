"""What is refused before an engine is built, and what it is built for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lineup.backends.building import build_with_tensorrt
from lineup.backends.graph_cache import GraphCache
from lineup.backends.tensorrt.api import Flavour
from lineup.backends.tensorrt.builder import BuildOptions, Range
from lineup.bundles.bundle import open_bundle
from lineup.bundles.manifest import BatchRange
from lineup.errors import UsageError
from lineup.paths import shipped_dir


def test_a_graph_with_operators_of_onnx_runtime_is_refused_in_words(rtx_api, tmp_path) -> None:
    onnx = pytest.importorskip("onnx")
    bundle = open_bundle(shipped_dir() / "bundles" / "whitened-spectrum")
    sets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("com.microsoft", 1)]
    model = onnx.ModelProto(ir_version=9, opset_import=sets)
    (tmp_path / bundle.graph_path("fingerprint").name).write_bytes(model.SerializeToString())
    options = BuildOptions(Flavour.RTX, compute_capability=(8, 6))
    engines = build_with_tensorrt(
        replace(bundle, path=tmp_path), rtx_api, options, GraphCache(tmp_path / "engines")
    )
    with pytest.raises(UsageError, match=r"made for CPUs.*com\.microsoft") as raised:
        next(engines)
    assert "--precision fp16" in str(raised.value.hint)


@pytest.mark.parametrize(
    ("exported_for", "asked", "expected"),
    [
        (None, None, (1, 1, 1)),
        (BatchRange(1, 4), None, (1, 4, 4)),
        (BatchRange(1, 4), Range(2, 3, 8), (2, 3, 8)),
    ],
)
def test_the_batch_of_an_engine_is_the_one_asked_for_else_the_bundles(
    exported_for, asked, expected, rtx_api, tmp_path, monkeypatch
) -> None:
    profiles = []

    def build(api, onnx, profile, options, progress):
        profiles.append(profile)
        return b"engine"

    monkeypatch.setattr("lineup.backends.building.build_engine", build)
    bundle = open_bundle(shipped_dir() / "bundles" / "whitened-spectrum")
    bundle = replace(bundle, manifest=replace(bundle.manifest, batch=exported_for))
    options = BuildOptions(Flavour.RTX, compute_capability=(8, 6), batch=asked)

    list(build_with_tensorrt(bundle, rtx_api, options, GraphCache(tmp_path)))

    assert tuple(shape[0] for shape in profiles[0]["tiles"]) == expected


def test_free_axes_of_latents_and_images_are_built_for_the_native_size(
    rtx_api, tmp_path, monkeypatch
) -> None:
    profiles = {}

    def build(api, onnx, profile, options, progress):
        profiles[onnx.stem] = profile
        return b"engine"

    monkeypatch.setattr("lineup.backends.building.build_engine", build)
    bundle = open_bundle(shipped_dir() / "bundles" / "pocket-ash")
    side = bundle.manifest.generation.native_width_px
    factor = bundle.manifest.generation.latent_factor
    options = BuildOptions(Flavour.RTX, compute_capability=(8, 6))

    list(build_with_tensorrt(bundle, rtx_api, options, GraphCache(tmp_path)))

    assert {shape[2:] for shape in profiles["vae_encoder"]["image"]} == {(side, side)}
    assert {shape[2:] for shape in profiles["unet"]["latents"]} == {(side // factor,) * 2}
