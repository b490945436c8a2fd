"""Products in eight bits: the published form made precise, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from lineup.errors import BundleFormatError
from lineup_export.parity import max_relative_error, outputs_from_file
from lineup_export.ready.integer_products import (
    in_single_precision,
    with_precise_products,
    with_products_of_digits,
)

DEPTH, COUNT, TOKENS = 100, 24, 6  # blocks of 64 do not divide the depth


@pytest.fixture(scope="module")
def product(tmp_path_factory) -> Path:
    """One product in float32."""
    weights = np.random.default_rng(0).normal(size=(DEPTH, COUNT)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="first")],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["images", TOKENS, DEPTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["images", TOKENS, COUNT])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path = tmp_path_factory.mktemp("product") / "float.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def tokens() -> np.ndarray:
    """One row is two hundred times as large as the others, as tokens of a CLIP are."""
    values = np.random.default_rng(1).normal(size=(2, TOKENS, DEPTH)).astype(np.float32)
    values[:, -1] *= 200
    return values


def run(model: onnx_ir.Model, folder: Path, values: np.ndarray) -> np.ndarray:
    path = folder / "run.onnx"
    onnx.save(onnx_ir.to_proto(model), path)
    return outputs_from_file(path, [{"x": values}])[0]["y"]


@pytest.mark.parametrize("weight_type", [QuantType.QInt8, QuantType.QUInt8])
@pytest.mark.parametrize("per_channel", [False, True])
def test_small_tokens_keep_their_levels_beside_large_ones(
    product, tokens, tmp_path, weight_type, per_channel
):
    published = tmp_path / "published.onnx"
    quantize_dynamic(product, published, per_channel=per_channel, weight_type=weight_type)
    model = onnx_ir.from_proto(onnx.load(published))
    assert with_precise_products(model) == 1

    found, exact = (run(one, tmp_path, tokens) for one in (model, in_single_precision(model)))

    small = np.s_[:, :-1]
    (right,) = outputs_from_file(product, [{"x": tokens}])
    (as_published,) = outputs_from_file(published, [{"x": tokens}])
    assert max_relative_error(exact[small], right["y"][small]) < 0.02  # the weights' rounding
    assert max_relative_error(found[small], exact[small]) < 0.01
    assert max_relative_error(as_published["y"][small], exact[small]) > 0.1


@pytest.mark.parametrize("version", [17, 18])
@pytest.mark.parametrize("weight_type", [QuantType.QInt8, QuantType.QUInt8])
def test_two_digits_are_as_good_as_single_precision(
    product, tokens, tmp_path, weight_type, version
):
    published = tmp_path / "published.onnx"
    quantize_dynamic(product, published, per_channel=True, weight_type=weight_type)
    model = onnx_ir.from_proto(onnx.load(published))
    model.opset_imports[""] = version
    with_precise_products(model)
    tokens = tokens.copy()
    tokens[1, 2] = 0  # a row without a largest value

    digits = with_products_of_digits(model)

    kinds = [{node.op_type for node in one.graph} for one in (model, digits)]
    assert ["MatMulNBits" in one for one in kinds] == [True, False]
    found, exact = (run(one, tmp_path, tokens) for one in (digits, in_single_precision(model)))
    for row in range(TOKENS):
        assert max_relative_error(found[:, row], exact[:, row]) < 5e-4
    np.testing.assert_array_equal(found[:1], run(digits, tmp_path, tokens[:1]))


def test_products_of_the_same_activations_share_their_digits(product, tmp_path):
    published = tmp_path / "published.onnx"
    quantize_dynamic(product, published)
    model = onnx_ir.from_proto(onnx.load(published))
    with_precise_products(model)
    first = next(node for node in model.graph if node.op_type == "MatMulNBits")
    again = onnx_ir.node("MatMulNBits", first.inputs, first.attributes, domain=first.domain)
    again.outputs[0].name = "z"
    model.graph.append(again)
    model.graph.outputs.append(again.outputs[0])

    types = [node.op_type for node in with_products_of_digits(model).graph]

    assert (types.count("MatMulIntegerToFloat"), types.count("ReduceMax")) == (4, 1)


def test_an_image_does_not_depend_on_its_neighbours(product, tokens, tmp_path):
    published = tmp_path / "published.onnx"
    quantize_dynamic(product, published)
    model = onnx_ir.from_proto(onnx.load(published))
    with_precise_products(model)

    together, alone = (run(model, tmp_path, values) for values in (tokens, tokens[:1]))

    np.testing.assert_array_equal(together[:1], alone)


def test_weights_without_a_zero_point_have_theirs_at_zero(product, tokens, tmp_path):
    published = tmp_path / "published.onnx"
    quantize_dynamic(
        product, published, weight_type=QuantType.QInt8, extra_options={"WeightSymmetric": True}
    )
    proto = onnx.load(published)
    (integer,) = (node for node in proto.graph.node if node.op_type == "MatMulInteger")
    del integer.input[3]
    model = onnx_ir.from_proto(proto)
    with_precise_products(model)

    (right,) = outputs_from_file(product, [{"x": tokens}])
    assert max_relative_error(run(model, tmp_path, tokens), right["y"]) < 0.02


def test_sums_do_not_saturate(tmp_path):
    """Without VNNI, uint8 times int8 is summed in pairs of 16 bits, in integer products."""
    weights = np.full((DEPTH, COUNT), 127, np.int8)
    model = onnx_ir.from_proto(_dynamic_product(weights, np.zeros(COUNT, np.int8)))
    with_precise_products(model)
    values = np.ones((1, TOKENS, DEPTH), np.float32)

    for one in (model, with_products_of_digits(model)):
        np.testing.assert_allclose(run(one, tmp_path, values), 127.0 * DEPTH, rtol=1e-3)


def test_a_graph_without_integer_products_stays_as_it_is(product):
    model = onnx_ir.from_proto(onnx.load(product))
    before = onnx_ir.to_proto(model)
    assert with_precise_products(model) == 0
    assert onnx_ir.to_proto(model) == before


def test_another_form_of_product_is_refused():
    proto = _dynamic_product(np.ones((DEPTH, COUNT), np.int8), np.zeros(COUNT, np.int8))
    (cast,) = (node for node in proto.graph.node if node.op_type == "Cast")
    cast.op_type = "Identity"
    with pytest.raises(BundleFormatError, match="'first' is not of the form"):
        with_precise_products(onnx_ir.from_proto(proto))


def _dynamic_product(weights: np.ndarray, zeros: np.ndarray) -> onnx.ModelProto:
    """Return what `quantize_dynamic` writes, with weights of scale 1."""
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["q", "w", "zero", "wz"], ["sum"], name="first"),
        helper.make_node("Cast", ["sum"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["scale", "ws"], ["scales"]),
        helper.make_node("Mul", ["wide", "scales"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["images", TOKENS, len(weights)])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(weights, "w"),
            numpy_helper.from_array(zeros, "wz"),
            numpy_helper.from_array(np.ones(1, np.float32), "ws"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model
