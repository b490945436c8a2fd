"""SiLU that is one operator of ONNX Runtime computes the same, to the last bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lineup_export.external import WeightFiles
from lineup_export.graph import InputSpec, graph_from_module


class Gates(nn.Module):
    """A SiLU, and a sigmoid that is no part of one."""

    def forward(self, states: Tensor) -> Tensor:
        return functional.silu(2 * states) + torch.sigmoid(states) * (states - 1)


def exported(folder: Path, *, fuse: bool) -> Path:
    folder.mkdir()
    states = InputSpec("states", torch.randn(2, 300), {0: "images"})
    graph = graph_from_module(
        Gates().eval(),
        [states],
        ["found"],
        opset=18,
        fuse_attention=fuse,
        files=WeightFiles(folder),
    )
    return graph.write(folder)


@pytest.mark.filterwarnings("ignore")
def test_it_computes_the_same_to_the_last_bit(tmp_path: Path) -> None:
    fused, plain = exported(tmp_path / "a", fuse=True), exported(tmp_path / "b", fuse=False)
    operators = [node.op_type for node in onnx.load(fused).graph.node]
    assert operators.count("QuickGelu") == 1
    assert operators.count("Sigmoid") == 1
    assert "QuickGelu" not in {node.op_type for node in onnx.load(plain).graph.node}
    states = np.random.default_rng(0).normal(0, 3, (3, 300)).astype(np.float32)
    found = [
        onnxruntime.InferenceSession(path).run(None, {"states": states})[0]
        for path in (fused, plain)
    ]
    np.testing.assert_array_equal(*found)
