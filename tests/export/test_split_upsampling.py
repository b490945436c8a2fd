"""Convolving before doubling gives what convolving the doubled image gives, with fewer products."""

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

pytestmark = pytest.mark.filterwarnings("ignore")


class Upsampler(nn.Module):
    """Doubles and convolves, as every decoder of the diffusion models does."""

    def __init__(self, *, kernel: int = 3, mode: str = "nearest", bias: bool = True) -> None:
        super().__init__()
        self.mode = mode
        self.convolution = nn.Conv2d(8, 12, kernel, padding=kernel // 2, bias=bias)

    def forward(self, features: Tensor) -> Tensor:
        doubled = functional.interpolate(features, scale_factor=2.0, mode=self.mode)
        return self.convolution(doubled)


class ReadTwice(Upsampler):
    """The doubled image is also an output."""

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        doubled = functional.interpolate(features, scale_factor=2.0, mode="nearest")
        return self.convolution(doubled), doubled + 1


def exported(module: nn.Module, folder: Path, outputs: int = 1, *, fuse: bool = True) -> Path:
    folder.mkdir()
    axes = {0: "images", 2: "rows", 3: "columns"}
    features = InputSpec("features", torch.randn(2, 8, 6, 5), axes)
    names = [f"found_{index}" for index in range(outputs)]
    graph = graph_from_module(
        module.eval(), [features], names, opset=18, fuse_attention=fuse, files=WeightFiles(folder)
    )
    return graph.write(folder)


def operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


@pytest.mark.parametrize("bias", [True, False])
def test_it_computes_the_same_up_to_rounding(tmp_path: Path, bias: bool) -> None:
    module = Upsampler(bias=bias)
    path = exported(module, tmp_path / "a")
    assert operators(path) == ["Conv", "DepthToSpace", "Slice"]
    session = onnxruntime.InferenceSession(path)
    for shape in ((2, 8, 6, 5), (1, 8, 1, 1), (3, 8, 7, 16)):
        features = torch.randn(shape)
        (found,) = session.run(None, {"features": features.numpy()})
        expected = module(features).detach().numpy()
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=2e-6)


def test_what_it_replaces_leaves_no_weights_behind(tmp_path: Path) -> None:
    model = onnx.load(exported(Upsampler(), tmp_path / "a"))
    shapes = sorted(tuple(one.dims) for one in model.graph.initializer if len(one.dims) == 4)
    assert shapes == [(48, 8, 2, 2)]
    read = {name for node in model.graph.node for name in node.input}
    assert {one.name for one in model.graph.initializer} <= read


@pytest.mark.parametrize(
    ("module", "outputs"),
    [(Upsampler(kernel=5), 1), (Upsampler(mode="bilinear"), 1), (ReadTwice(), 2)],
    ids=["another kernel", "another mode", "read twice"],
)
def test_anything_else_stays_as_it_is(tmp_path: Path, module: nn.Module, outputs: int) -> None:
    found = operators(exported(module, tmp_path / "a", outputs))
    assert "Resize" in found
    assert "DepthToSpace" not in found


def test_graphs_for_every_backend_stay_as_they_are(tmp_path: Path) -> None:
    assert "Resize" in operators(exported(Upsampler(), tmp_path / "a", fuse=False))
