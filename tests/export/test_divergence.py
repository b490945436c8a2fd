from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from lineup.errors import ParityError
from lineup_export.divergence import (
    PROBES,
    Divergence,
    explained,
    graph_divergence,
    half_divergence,
)
from lineup_export.external import WeightFiles
from lineup_export.graph import InputSpec, graph_from_model, program_from_module
from lineup_export.precision import HalfPrecision


class Branch(nn.Module):
    def __init__(self, gain: float) -> None:
        super().__init__()
        self.linear, self.gain = nn.Linear(20, 20), gain

    def forward(self, states: Tensor) -> Tensor:
        # Masks are made of infinities; two that agree are no difference.
        masked = self.linear(states).masked_fill(states > 1e9, float("-inf"))
        return torch.tanh(masked * self.gain / self.gain)


class Chain(nn.Module):
    """Twice as many branches as are looked at in one run; one of them may overflow in half."""

    def __init__(self, overflows_at: int = -1) -> None:
        super().__init__()
        torch.manual_seed(0)
        gains = [6e4 if index == overflows_at else 1.0 for index in range(2 * PROBES)]
        self.branches = nn.ModuleList(Branch(gain) for gain in gains)

    def forward(self, states: Tensor) -> Tensor:
        for branch in self.branches:
            states = states + branch(states)
        return states


STATES = torch.randn(3, 20, generator=torch.Generator().manual_seed(1))
INPUTS = (InputSpec("states", STATES, {0: "n"}),)


def traced(module: nn.Module) -> Any:
    return program_from_module(module.eval().requires_grad_(False), INPUTS, ["sums"], opset=18)


@pytest.fixture(scope="module")
def chain() -> Any:
    return traced(Chain())


def written(chain: Any, folder: Path) -> Path:
    graph = graph_from_model(chain.model, INPUTS, opset=18, files=WeightFiles(folder))
    return graph.write(folder)


def divergence(path: Path, chain: Any) -> Divergence | None:
    return graph_divergence(path, chain.exported_program, {"states": STATES}, 2e-4)


def test_a_graph_that_is_right_has_no_divergence(chain: Any, tmp_path: Path) -> None:
    assert divergence(written(chain, tmp_path), chain) is None


@pytest.mark.parametrize("broken", [0, 11, 2 * PROBES - 1])
def test_a_broken_bias_is_found_by_its_node_and_module(
    broken: int, chain: Any, tmp_path: Path
) -> None:
    path = written(chain, tmp_path)
    model = onnx.load(str(path), load_external_data=False)
    name = f"branches.{broken}.linear.bias"
    bias = next(item for item in model.graph.initializer if item.name == name)
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(0.1), name))
    path.write_bytes(model.SerializeToString())

    found = divergence(path, chain)

    assert found is not None
    assert found.module == f"branches.{broken}.linear"
    assert found.operator in {"Gemm", "Add"}
    assert found.error > 2e-4


class Attention(nn.Module):
    """Long enough to become ONNX Runtime's own operator."""

    def forward(self, states: Tensor) -> Tensor:
        rows = (2 * states)[:, None]
        attended = nn.functional.scaled_dot_product_attention(rows, rows, 3 * rows)
        return torch.tanh(attended[:, 0])


def test_fused_attention_is_computed_by_torch_too(tmp_path: Path) -> None:
    inputs = (InputSpec("states", torch.randn(2, 512, 8), {0: "n"}),)
    program = program_from_module(Attention(), inputs, ["y"], opset=18, fuse_attention=True)
    files = WeightFiles(tmp_path)
    graph = graph_from_model(program.model, inputs, opset=18, fuse_attention=True, files=files)
    assert b"MultiHeadAttention" in graph.onnx
    sample = {"states": inputs[0].example}

    assert graph_divergence(graph.write(tmp_path), program.exported_program, sample, 2e-4) is None


def test_the_operation_that_overflows_in_half_is_found() -> None:
    half = HalfPrecision(Chain(overflows_at=17), frozenset())

    found = half_divergence(traced(half).exported_program, [STATES], 2e-2)

    assert found is not None
    assert found.module == "branches.17"
    assert found.operator == "aten.mul.Tensor"
    assert found.error == float("inf")


def test_half_precision_that_keeps_to_the_tolerance_has_no_divergence() -> None:
    half = HalfPrecision(Chain(), frozenset())

    assert half_divergence(traced(half).exported_program, [STATES], 2e-2) is None


def test_the_error_names_the_node_and_keeps_its_hint() -> None:
    error = ParityError("Graph 'a' differs.", hint="Do this.")

    named = explained(error, Divergence("linear_3", "Gemm", "branches.3", 0.25))
    assert str(named) == (
        "Graph 'a' differs. Gemm 'linear_3' in branches.3 differs first, by 0.25.\nDo this."
    )
    assert "No value in between differs" in str(explained(error, None))
