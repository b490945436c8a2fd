"""What only the first token is taken of is computed for it alone, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from lineup_export.parity import outputs_from_file
from lineup_export.ready.first_token import compute_first_token_alone

TOKENS, DIMENSION = 7, 12


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def tail(*more: onnx.NodeProto, per_token: bool = False, outputs: tuple[str, ...] = ("cls",)):
    """Tokens that see each other, then a residual, a mean taken off, a product and a bias."""
    node = helper.make_node
    nodes = [
        node("Transpose", ["x"], ["across"], perm=[0, 2, 1]),
        node("MatMul", ["x", "across"], ["near"]),
        node("MatMul", ["near", "x"], ["mixed"], name="attention"),
        node("Add", ["x", "mixed"], ["sum"]),
        node("ReduceMean", ["sum"], ["mean"], axes=[-1]),
        node("Sub", ["sum", "mean"], ["centred"]),
        node("MatMul", ["centred", "w"], ["product"], name="last"),
        node("Add", ["product", "b"], ["states"]),
        node("Gather", ["states", "zero"], ["cls"], axis=1),
        *more,
    ]
    bias = weights(TOKENS, DIMENSION) if per_token else weights(DIMENSION)
    shape = ["images", TOKENS, DIMENSION]
    graph = helper.make_graph(
        nodes,
        "tail",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(one, TensorProto.FLOAT, None) for one in outputs],
        [
            numpy_helper.from_array(weights(DIMENSION, DIMENSION), "w"),
            numpy_helper.from_array(bias, "b"),
            numpy_helper.from_array(np.array(0), "zero"),
            numpy_helper.from_array(np.array(2), "third"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def outputs_of(model: onnx.ModelProto, path: Path) -> dict[str, np.ndarray]:
    onnx.save(model, path)
    return outputs_from_file(path, [{"x": weights(2, TOKENS, DIMENSION)}])[0]


def cut(model: onnx.ModelProto) -> tuple[int, onnx.ModelProto]:
    intermediate = onnx_ir.from_proto(model)
    return compute_first_token_alone(intermediate), onnx_ir.to_proto(intermediate)


def test_the_tail_sees_the_first_token_alone(tmp_path):
    model = tail()

    found, changed = cut(model)

    assert found == 5  # Add, ReduceMean, Sub, MatMul, Add: not what mixes tokens
    before, after = (outputs_of(one, tmp_path / "run.onnx")["cls"] for one in (model, changed))
    np.testing.assert_allclose(after, before, rtol=1e-5)
    changed.graph.output.append(helper.make_tensor_value_info("states", TensorProto.FLOAT, None))
    assert outputs_of(changed, tmp_path / "run.onnx")["states"].shape == (2, 1, DIMENSION)


@pytest.mark.parametrize(
    ("model", "seeing_one"),
    [
        (tail(outputs=("cls", "states")), 0),
        (tail(helper.make_node("Gather", ["states", "third"], ["z"], axis=1), outputs=("z",)), 0),
        (tail(helper.make_node("Softmax", ["states"], ["z"], axis=1), outputs=("cls", "z")), 0),
        (tail(per_token=True), 0),
        (tail(helper.make_node("Exp", ["centred"], ["z"]), outputs=("cls", "z")), 2),
    ],
    ids=["all put out", "another token", "along tokens", "a bias per token", "used before"],
)
def test_what_others_need_is_computed_for_all(model, seeing_one, tmp_path):
    found, changed = cut(model)

    assert found == seeing_one
    before, after = (outputs_of(one, tmp_path / "run.onnx") for one in (model, changed))
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value, rtol=1e-5)
