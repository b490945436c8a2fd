from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from lineup.backends.device import Device, DeviceKind
from lineup.backends.onnxrt import runner_from_onnx
from lineup.bundles.manifest import TensorSpec
from lineup.errors import UsageError
from lineup.paths import shipped_dir
from lineup_export import external
from lineup_export.graph import InputSpec, OnnxGraph, graph_from_module
from lineup_export.rules import check_rules


class Affine(nn.Module):
    """uint8 (n, 40) to float32 (n, 40), with one large and one small constant."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.register_buffer("matrix", torch.randn(40, 40))
        self.register_buffer("shift", torch.randn(40))

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.to(torch.float32) @ self.matrix + self.shift


def export_again(opset: int = 18) -> OnnxGraph:
    inputs = [InputSpec("pixels", torch.zeros(2, 40, dtype=torch.uint8), {0: "n"})]
    return graph_from_module(Affine(), inputs, ["sums"], opset=opset)


exported = functools.cache(export_again)


def test_the_graph_computes_what_the_module_computes(tmp_path: Path) -> None:
    path = exported().write(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 40), dtype=np.uint8)

    with runner_from_onnx(path, Device(DeviceKind.CPU)) as runner:
        found = runner.run({"pixels": pixels})["sums"]

    np.testing.assert_allclose(found, Affine()(torch.from_numpy(pixels)).numpy(), rtol=1e-5)


def test_the_same_module_gives_the_same_bytes() -> None:
    assert export_again() == exported()


def test_names_types_and_free_axes_are_reported() -> None:
    graph = exported()

    assert graph.inputs == (TensorSpec("pixels", "uint8", ("n", 40)),)
    assert graph.outputs == (TensorSpec("sums", "float32", ("n", 40)),)


def test_only_large_constants_leave_a_large_graph_and_lie_at_their_hash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(external, "INLINE_GRAPH_BYTES", 0)
    graph = export_again()

    assert list(graph.weights.values()) == [Affine().matrix.numpy().tobytes()]
    for location, content in graph.weights.items():
        assert location == f"weights/sha256-{hashlib.sha256(content).hexdigest()}"
    assert len(graph.onnx) < 2000


def test_a_small_graph_keeps_its_constants() -> None:
    graph = exported()

    assert graph.weights == {}
    assert Affine().matrix.numpy().tobytes() in graph.onnx


def test_nothing_of_the_machine_is_in_the_graph() -> None:
    assert str(Path(__file__).parent).encode() not in exported().onnx
    assert b"lineup_models" not in exported().onnx


@pytest.mark.parametrize("opset", [18, 20])
def test_the_operator_set_is_the_one_asked_for(opset: int) -> None:
    graph = exported(opset)

    model = onnx.load_from_string(graph.onnx)
    assert graph.opset == opset
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]


def test_an_operator_set_out_of_range_is_refused() -> None:
    with pytest.raises(UsageError, match="18 to 20"):
        exported(21)


class Named(nn.Module):
    """A parameter, a value inside and an output of one name."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.ones(3))

    def forward(self, tokens: Tensor) -> Tensor:
        return torch.nn.functional.embedding(tokens, torch.eye(5, 3)) + self.embedding


def test_an_output_may_be_called_as_something_inside_is() -> None:
    tokens = InputSpec("tokens", torch.zeros(2, 4, dtype=torch.int64), {0: "n"})

    graph = graph_from_module(Named(), [tokens], ["embedding"], opset=18)

    assert [spec.name for spec in graph.outputs] == ["embedding"]


def model_of(*nodes: onnx.NodeProto, opset: int = 18) -> onnx.ModelProto:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in ("x", "y")]
    graph = helper.make_graph(list(nodes), "g", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def test_a_narrowing_cast_in_the_middle_is_refused() -> None:
    model = model_of(
        helper.make_node("Neg", ["x"], ["a"]),
        helper.make_node("Cast", ["a"], ["b"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["b"], ["y"], to=TensorProto.FLOAT),
    )

    with pytest.raises(RuntimeError, match="casts 'a'"):
        check_rules(model, 18)


def test_bytes_are_cast_before_anything_else() -> None:
    model = model_of(
        helper.make_node("Transpose", ["x"], ["a"]),
        helper.make_node("Cast", ["a"], ["y"], to=TensorProto.FLOAT),
    )
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8

    with pytest.raises(RuntimeError, match="takes bytes"):
        check_rules(model, 18)


def test_what_ships_keeps_the_rules() -> None:
    paths = sorted((shipped_dir() / "bundles").glob("*/*.onnx"))

    assert paths
    for path in paths:
        model = onnx.load(path, load_external_data=False)
        is_half = "fp16" in (path.parent / "manifest.json").read_text(encoding="utf-8")
        check_rules(model, 18, mixed_precision=is_half, runtime_only=True, path=path)


def test_random_numbers_in_the_graph_are_refused() -> None:
    model = model_of(
        helper.make_node("RandomNormal", [], ["n"], shape=[4]),
        helper.make_node("Add", ["x", "n"], ["y"]),
    )

    with pytest.raises(RuntimeError, match="RandomNormal"):
        check_rules(model, 18)


def test_another_operator_set_is_refused() -> None:
    with pytest.raises(RuntimeError, match="expected 18 only"):
        check_rules(model_of(helper.make_node("Neg", ["x"], ["y"]), opset=17), 18)
