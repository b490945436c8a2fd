"""NVIDIA's own parser and builder take the exported graphs; no GPU is needed for either."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lineup_export.graph import OnnxGraph


@pytest.fixture(scope="module")
def trt() -> Any:
    return pytest.importorskip("tensorrt_rtx")


def test_the_fingerprint_builds_with_up_to_sixteen_tiles(
    trt: Any, default_graph: OnnxGraph, tmp_path: Path
) -> None:
    path = default_graph.write(tmp_path)
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)

    is_parsed = parser.parse_from_file(str(path))

    assert is_parsed, [str(parser.get_error(index)) for index in range(parser.num_errors)]
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    profile = builder.create_optimization_profile()
    profile.set_shape("tiles", (1, 256, 256, 3), (4, 256, 256, 3), (16, 256, 256, 3))
    profile.set_shape("tile_weights", (1, 1), (1, 4), (16, 16))
    config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    assert engine is not None
    assert engine.nbytes > 2_000_000
