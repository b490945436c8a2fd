"""NVIDIA's own parser and builder take every kind of model; no GPU is needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lineup.backends.building import build_with_tensorrt
from lineup.backends.graph_cache import GraphCache
from lineup.backends.tensorrt.api import Flavour, api_from_flavour
from lineup.backends.tensorrt.options import BuildOptions, Range
from lineup.bundles.manifest import Precision
from lineup_export.assembly import ExportedBundle

pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")

pytestmark = pytest.mark.slow


def test_every_graph_of_a_family_builds(
    family: str, export_tiny: Callable[..., ExportedBundle], tmp_path: Path
) -> None:
    bundle = export_tiny(family, Precision.FP16).bundle
    options = BuildOptions(Flavour.RTX, compute_capability=(8, 6), batch=Range(1, 2, 4))

    built = list(
        build_with_tensorrt(bundle, api_from_flavour(Flavour.RTX), options, GraphCache(tmp_path))
    )

    assert [one.role for one in built] == list(bundle.manifest.graphs)
    assert all(one.compiled.path.stat().st_size > 1000 for one in built)
