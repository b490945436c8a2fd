from __future__ import annotations

import errno
import logging
import os
import signal
from dataclasses import replace
from pathlib import Path

import click
import pytest
import torch
from torch import Tensor, nn

from lineup.bundles.bundle import open_bundle
from lineup.bundles.info import EncoderInfo, Preprocess
from lineup.bundles.manifest import BatchRange, BundleKind, Origin, Precision, Source
from lineup.errors import ParityError, UsageError
from lineup_export import component_export, contracts
from lineup_export.assembly import write_bundle
from lineup_export.component import ExportOptions
from lineup_export.options import batch_from_text, stopped_by_sigterm
from lineup_export.precision import LADDER
from lineup_export.versions import tool_versions


class Tower(nn.Module):
    """The smallest image tower; `gain` makes it overflow in half precision."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(12, 300)
        self.gain = gain

    def forward(self, pixel_values: Tensor) -> Tensor:
        found: Tensor = (self.linear(pixel_values.flatten(1)) * self.gain)[:, None] / self.gain
        return found


FIELDS = {
    "kind": BundleKind.ENCODER,
    "name": "tower",
    "licence": "Apache-2.0",
    "source": Source(Origin.RANDOM, "random:0", "test"),
    "tools": {"torch": "any"},
    "preprocess": Preprocess(),
    "encoder": EncoderInfo((1,), 1, 300),
}


def write(target: Path, precision: Precision = Precision.FP32, gain: float = 1.0):
    tower = contracts.image_encoder("image_tower_cut", lambda _: Tower(gain), 2)
    options = ExportOptions(precision=precision)
    return write_bundle(target, FIELDS, [tower], {"a.txt": b"a"}, options)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, logger="torch")


@pytest.fixture
def weights_in_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the tests' small graphs keep their weights as large ones do."""
    monkeypatch.setattr("lineup_export.external.INLINE_GRAPH_BYTES", 0)


def test_a_component_becomes_a_graph_with_its_parity_on_record(tmp_path: Path) -> None:
    exported = write(tmp_path / "bundle")

    manifest = open_bundle(tmp_path / "bundle").manifest
    graph = manifest.graphs["image_tower_cut"]
    assert graph.inputs[0].shape == ("images", 3, 2, 2)
    assert graph.parity == exported.reports[0].parity
    assert graph.parity.value <= 1e-5
    recorded = manifest.source.details["components"]["image_tower_cut"]
    assert recorded["parameters"] == 12 * 300 + 300
    assert recorded["cosine"] == pytest.approx(1)
    assert [record.path for record in manifest.files] == ["a.txt"]


def test_half_precision_halves_the_weights_and_keeps_float32_outside(
    tmp_path: Path, weights_in_files: None
) -> None:
    wide, narrow = write(tmp_path / "a"), write(tmp_path / "b", Precision.FP16)

    graph = narrow.bundle.manifest.graphs["image_tower_cut"]
    assert graph.inputs[0].dtype == graph.outputs[0].dtype == "float32"
    assert graph.weights[0].size_bytes * 2 == 12 * 300 * 4
    assert wide.bundle.manifest.size_bytes > 1.5 * narrow.bundle.manifest.size_bytes
    assert narrow.reports[0].islands == ("norms",)
    # Weights rounded to half show that a difference is measured.
    assert wide.reports[0].parity.value < 1e-5 < narrow.reports[0].parity.value < 1e-2


def test_what_overflows_in_half_is_computed_in_single_precision(tmp_path: Path) -> None:
    exported = write(tmp_path / "bundle", Precision.FP16, gain=1e5)

    assert exported.reports[0].islands == ("everything",)
    assert exported.reports[0].parity.value < 1e-3


def test_a_graph_that_differs_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = component_export.outputs_from_file

    def other(path: Path, feeds):
        return [{"cls": outputs["cls"] * 1.01} for outputs in run(path, feeds)]

    monkeypatch.setattr(component_export, "outputs_from_file", other)

    with pytest.raises(ParityError, match=r"max_relative_error is 0\.01.*No bundle was written"):
        write(tmp_path / "bundle")
    assert not list(tmp_path.iterdir())


def test_the_node_that_differs_first_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bias = torch.nn.Parameter(torch.ones(300))

    def broken(self: Tower, pixel_values: Tensor) -> Tensor:
        # The exporter sees another bias than the reference was computed with.
        is_traced = torch.compiler.is_exporting()
        given = bias if is_traced and not tracing_again else self.linear.bias
        rows = torch.nn.functional.linear(pixel_values.flatten(1), self.linear.weight, given)
        return torch.tanh(rows)[:, None]

    tracing_again: list[bool] = []
    locate = component_export._graph_divergence
    monkeypatch.setattr(Tower, "forward", broken)
    monkeypatch.setattr(
        component_export,
        "_graph_divergence",
        lambda *a: (tracing_again.append(True), locate(*a))[1],
    )

    with pytest.raises(ParityError, match="Gemm 'linear' differs first, by"):
        write(tmp_path / "bundle")
    assert not list(tmp_path.iterdir())


def test_the_operation_that_fails_in_half_precision_is_named(tmp_path: Path) -> None:
    tower = contracts.image_encoder("image_tower_cut", lambda _: Tower(6e4), 2)
    tower = replace(tower, ladder=LADDER[:1])
    options = ExportOptions(precision=Precision.FP16)

    with pytest.raises(ParityError, match=r"norms in .*aten\.mul\.Tensor 'mul.*' differs first"):
        write_bundle(tmp_path / "b", FIELDS, [tower], {}, options)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_a_clear_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights_in_files: None
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("lineup_export.external._bytes_of", full)

    with pytest.raises(UsageError, match="cannot be written: No space left on device") as caught:
        write(tmp_path / "bundle")
    assert "room for twice the bundle" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_an_interruption_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(component_export, "outputs_from_file", interrupted)

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "bundle")
    assert not list(tmp_path.iterdir())


def test_a_job_that_is_cancelled_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        component_export, "outputs_from_file", lambda *_: os.kill(os.getpid(), signal.SIGTERM)
    )

    with pytest.raises(SystemExit) as caught, stopped_by_sigterm():
        write(tmp_path / "bundle")
    assert caught.value.code == 143
    assert not list(tmp_path.iterdir())


def test_a_batch_may_be_fixed(tmp_path: Path) -> None:
    tower = contracts.image_encoder("image_tower_cut", lambda _: Tower(), 2)
    options = ExportOptions(batch=BatchRange(3, 3))

    exported = write_bundle(tmp_path / "bundle", FIELDS, [tower], {}, options)

    graph = exported.bundle.manifest.graphs["image_tower_cut"]
    assert graph.inputs[0].shape == (3, 3, 2, 2)
    assert graph.outputs[0].shape == (3, 1, 300)


def test_a_range_of_batches_is_left_free_and_recorded(tmp_path: Path) -> None:
    tower = contracts.image_encoder("image_tower_cut", lambda _: Tower(), 2)
    options = ExportOptions(batch=BatchRange(1, 4))

    write_bundle(tmp_path / "bundle", FIELDS, [tower], {}, options)

    manifest = open_bundle(tmp_path / "bundle").manifest
    assert manifest.batch == BatchRange(1, 4)
    assert manifest.graphs["image_tower_cut"].inputs[0].shape == ("images", 3, 2, 2)


@pytest.mark.parametrize(("text", "expected"), [("4", BatchRange(4, 4)), ("1:4", BatchRange(1, 4))])
def test_a_batch_is_a_number_or_a_range(text: str, expected: BatchRange) -> None:
    assert batch_from_text(None, None, text) == expected


@pytest.mark.parametrize("text", ["0", "4:1", "1:2:4", "many", "1:", "-1"])
def test_another_batch_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="rising range"):
        batch_from_text(None, None, text)


def test_the_versions_of_the_tools_are_those_installed() -> None:
    versions = tool_versions(("torch", "no-such-tool"))

    assert versions["torch"] == torch.__version__
    assert "no-such-tool" not in versions
