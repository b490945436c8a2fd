"""Weights in eight bits: close to what they were, and never all wide at once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from lineup_export.compression import eight_bits, scales_of
from lineup_export.external import WeightFiles
from lineup_export.graph import InputSpec, graph_from_module

WIDE = 128


class Layers(nn.Module):
    """A table of words, two products, a convolution, and a product that is too small."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(200, WIDE)
        self.first, self.second = nn.Linear(WIDE, WIDE), nn.Linear(WIDE, WIDE)
        self.convolution = nn.Conv1d(WIDE, WIDE, 1)
        self.small = nn.Linear(WIDE, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        states = self.first(self.words(tokens)).tanh()
        states = states + self.convolution(self.second(states).transpose(1, 2)).transpose(1, 2)
        found: Tensor = self.small(states)
        return found


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """The layers as they are, and compressed."""
    module, paths = Layers().eval().requires_grad_(False), {}
    tokens = InputSpec("tokens", torch.zeros(2, 7, dtype=torch.int64), {0: "prompts"})
    for compress in (False, True):
        folder = tmp_path_factory.mktemp("graph")
        graph = graph_from_module(
            module, [tokens], ["found"], opset=18, compress=compress, files=WeightFiles(folder)
        )
        paths[compress] = graph.write(folder)
    return paths


def outputs(path: Path) -> np.ndarray:
    tokens = np.random.default_rng(0).integers(0, 200, (3, 7))
    found: np.ndarray = onnxruntime.InferenceSession(path).run(None, {"tokens": tokens})[0]
    return found


@pytest.mark.filterwarnings("ignore")
def test_a_quarter_of_the_size_computes_nearly_the_same(graphs: dict[bool, Path]) -> None:
    plain, compressed = (graphs[key] for key in (False, True))

    assert compressed.stat().st_size < 0.35 * plain.stat().st_size
    error = np.abs(outputs(plain) - outputs(compressed)).max() / np.abs(outputs(plain)).max()
    assert 0 < error < 0.02


def test_large_weights_are_in_eight_bits_and_small_ones_stay(graphs: dict[bool, Path]) -> None:
    model = onnx.load(graphs[True])
    stored = {tuple(one.dims): one.data_type for one in model.graph.initializer}

    narrow = {shape for shape, kind in stored.items() if kind == onnx.TensorProto.INT8}
    assert narrow == {(200, WIDE), (WIDE, WIDE), (WIDE, WIDE, 1)}
    assert stored[WIDE, 4] == onnx.TensorProto.FLOAT


def test_a_weight_is_widened_when_its_product_comes(
    graphs: dict[bool, Path], tmp_path: Path
) -> None:
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.enable_profiling, settings.profile_file_prefix = True, str(tmp_path / "run")
    session = onnxruntime.InferenceSession(graphs[True], settings)
    session.run(None, {"tokens": np.zeros((1, 7), np.int64)})

    events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    ran = [e["args"]["op_name"] for e in events if e["name"].endswith("_kernel_time")]

    # Rows of the table, then one weight before each product that has a large one.
    operators = {"DequantizeLinear", "MatMul", "Conv"}
    assert [name for name in ran if name in operators] == [
        "DequantizeLinear",
        *["DequantizeLinear", "MatMul"] * 2,
        *["DequantizeLinear", "Conv"],
        "MatMul",
    ]


def test_the_largest_weight_of_a_channel_is_exact_and_the_rest_within_half_a_step() -> None:
    weight = np.random.default_rng(0).normal(size=(5, 6, 3)).astype(np.float32)
    weight[2] = 0

    for axis in (0, -1):
        scales = scales_of(weight, axis)
        stored = eight_bits(weight, scales)

        assert stored.dtype == np.int8
        assert scales.size == weight.shape[axis]
        again = stored * scales
        assert (np.abs(again - weight) <= scales / 2 * (1 + 1e-5)).all()
        assert np.abs(again).max() == pytest.approx(np.abs(weight).max())
