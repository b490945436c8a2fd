"""An export measures what its graphs cost."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lineup.bundles.bundle import Bundle, open_bundle
from lineup.bundles.manifest import Precision
from lineup.paths import shipped_dir
from lineup.planning.measuring import bundle_with_costs
from lineup_export import assembly


@pytest.fixture
def clip(tmp_path: Path) -> Bundle:
    """A copy of a small bundle."""
    path = tmp_path / "clip"
    shutil.copytree(shipped_dir() / "bundles" / "pocket-clip", path)
    return open_bundle(path)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is told by Linux only")
def test_single_precision_is_measured(clip: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "bundle_with_costs", bundle_with_costs)

    measured = assembly.measured_bundle(clip)

    costs = [graph.cost for graph in open_bundle(clip.path).manifest.graphs.values()]
    assert costs == [graph.cost for graph in measured.manifest.graphs.values()]
    assert all(cost is not None and cost.run_ms > 0 for cost in costs)


def test_half_precision_is_not(clip: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "bundle_with_costs", None)
    half = replace(clip, manifest=replace(clip.manifest, precision=Precision.FP16))
    assert assembly.measured_bundle(half) is half
