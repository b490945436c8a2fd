from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lineup_export import assembly, fingerprint
from lineup_export.fingerprint import graph_from_checkpoint
from lineup_export.graph import OnnxGraph
from lineup_models.fingerprint.checkpoint import Checkpoint, write_checkpoint
from lineup_models.fingerprint.covariance import FoundAxes
from lineup_models.fingerprint.spec import ChannelMean, SpectrumSpec


def checkpoint_from_spec(spec: SpectrumSpec) -> Checkpoint:
    random = np.random.default_rng(11)
    orthonormal, _ = np.linalg.qr(random.normal(size=(spec.fingerprint_dimension, spec.axes)))
    fit = FoundAxes(
        mean=random.uniform(0.5, 1.5, spec.fingerprint_dimension),
        axes=np.ascontiguousarray(orthonormal.T, dtype=np.float32),
        variances=np.geomspace(5, 0.05, spec.axes),
        floor=0.03,
    )
    return Checkpoint(spec, fit, {"photographs": 9})


@pytest.fixture(scope="session", autouse=True)
def costs_are_not_measured() -> Iterator[None]:
    """Spare the tests a child process per bundle; `test_assembly` measures one for real."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "bundle_with_costs", lambda bundle: bundle)
        yield


@pytest.fixture(scope="session")
def small_spec() -> SpectrumSpec:
    """Settings whose graph torch exports fastest."""
    return SpectrumSpec(
        tile_size_px=32,
        pool_height=24,
        pool_width=12,
        axes=16,
        channel_mean=ChannelMean.PIXELS,
    )


@pytest.fixture(scope="session")
def small_checkpoint(small_spec: SpectrumSpec) -> Checkpoint:
    return checkpoint_from_spec(small_spec)


@pytest.fixture(scope="session")
def small_graph(small_checkpoint: Checkpoint) -> OnnxGraph:
    return graph_from_checkpoint(small_checkpoint, opset=18)


@pytest.fixture
def exports_small_graph(small_graph: OnnxGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the test the seconds that torch needs to export the graph again."""
    monkeypatch.setattr(fingerprint, "graph_from_checkpoint", lambda *_, **__: small_graph)


@pytest.fixture(scope="session")
def default_checkpoint() -> Checkpoint:
    return checkpoint_from_spec(SpectrumSpec())


@pytest.fixture(scope="session")
def default_graph(default_checkpoint: Checkpoint) -> OnnxGraph:
    return graph_from_checkpoint(default_checkpoint, opset=18)


@pytest.fixture
def checkpoint_folder(small_checkpoint: Checkpoint, tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    write_checkpoint(small_checkpoint, folder)
    return folder
