"""Products in eight bits: the published form made precise, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from lineup.backends import onnxrt
from lineup.errors import BundleFormatError
from lineup.machine import sums_bytes_exactly
from lineup_export.parity import max_relative_error, outputs_from_file
from lineup_export.ready.integer_products import (
    activations_of_products,
    in_single_precision,
    with_precise_products,
    with_products_of_bytes,
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


def with_a_large_channel(tokens: np.ndarray) -> np.ndarray:
    """As CLIP has: one channel is large in every token, and one token has nothing at all."""
    values = tokens.copy()
    values[..., 7] = 50 + 30 * values[..., 7]
    values[1, 2] = 0
    return values


@pytest.mark.parametrize("version", [17, 18])
@pytest.mark.parametrize("weight_type", [QuantType.QInt8, QuantType.QUInt8])
def test_bytes_are_as_good_with_large_channels_apart(
    product, tokens, tmp_path, weight_type, version
):
    published = tmp_path / "published.onnx"
    quantize_dynamic(product, published, per_channel=True, weight_type=weight_type)
    model = onnx_ir.from_proto(onnx.load(published))
    model.opset_imports[""] = version
    with_precise_products(model)
    tokens = with_a_large_channel(tokens)

    in_bytes, at_random = (
        with_products_of_bytes(model, {"x": samples})
        for samples in (tokens[:1], tokens[:1, :, ::-1])  # the large one is another channel there
    )

    kinds = [{node.op_type for node in one.graph} for one in (model, in_bytes)]
    assert ["MatMulNBits" in one for one in kinds] == [True, False]
    exact = run(in_single_precision(model), tmp_path, tokens)
    found, worse = (run(one, tmp_path, tokens) for one in (in_bytes, at_random))
    errors = [
        [max_relative_error(one[:, row], exact[:, row]) for row in range(TOKENS - 1)]
        for one in (found, worse)
    ]
    assert max(errors[0]) < 4e-3
    assert np.mean(errors[1]) > 5 * np.mean(errors[0])
    np.testing.assert_array_equal(found[1, 2], 0)
    np.testing.assert_array_equal(found[:1], run(in_bytes, tmp_path, tokens[:1]))


def test_openvino_runs_bytes_too(product, tokens, tmp_path):
    openvino = pytest.importorskip("openvino")
    published = tmp_path / "published.onnx"
    quantize_dynamic(product, published, per_channel=True)
    model = onnx_ir.from_proto(onnx.load(published))
    with_precise_products(model)
    in_bytes = with_products_of_bytes(model, {"x": tokens})
    expected = run(in_bytes, tmp_path, tokens)

    graph = openvino.Core().compile_model(
        tmp_path / "run.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )

    found = graph.create_infer_request().infer({"x": tokens})["y"]
    for row in range(TOKENS):
        assert max_relative_error(found[:, row], expected[:, row]) < 1e-3


def test_bytes_begin_where_the_values_do(product, tokens, tmp_path):
    """What an activation function puts out is hardly ever below 0: half of the bytes would idle."""
    published = tmp_path / "published.onnx"
    quantize_dynamic(product, published, per_channel=True)
    model = onnx_ir.from_proto(onnx.load(published))
    with_precise_products(model)
    exact = in_single_precision(model)
    above = np.maximum(tokens, -0.1)

    errors = []
    for samples in (above, np.concatenate([above, -above])):
        found = run(with_products_of_bytes(model, {"x": samples}), tmp_path, above)
        errors.append(float(np.abs(found - run(exact, tmp_path, above))[:, :-1].mean()))
    assert errors[0] < 0.7 * errors[1]


def biased(product: Path, folder: Path) -> onnx_ir.Model:
    """Return a product, and beside it another of the same activations with a bias."""
    published = folder / "published.onnx"
    quantize_dynamic(product, published)
    model = onnx_ir.from_proto(onnx.load(published))
    with_precise_products(model)
    first = next(node for node in model.graph if node.op_type == "MatMulNBits")
    again = onnx_ir.node("MatMulNBits", first.inputs, first.attributes, domain=first.domain)
    again.outputs[0].name = "again"
    bias = onnx_ir.tensor(np.arange(COUNT, dtype=np.float32), name="bias")
    value = onnx_ir.Value(name="bias", const_value=bias)
    model.graph.register_initializer(value)
    added = onnx_ir.node("Add", [value, again.outputs[0]])
    added.outputs[0].name = "z"
    model.graph.extend([again, added])
    model.graph.outputs.append(added.outputs[0])
    return model


def test_products_of_the_same_activations_share_their_bytes_and_take_up_a_bias(
    product, tokens, tmp_path
):
    model = biased(product, tmp_path)
    assert activations_of_products(model) == ["x"]

    in_bytes = with_products_of_bytes(model, {"x": tokens})

    types = [node.op_type for node in in_bytes.graph]
    assert (types.count("MatMulIntegerToFloat"), types.count("QuantizeLinear")) == (2, 1)
    assert types.count("Add") == 2
    path = tmp_path / "run.onnx"
    onnx.save(onnx_ir.to_proto(in_bytes), path)
    (found,) = outputs_from_file(path, [{"x": tokens}])
    expected = found["y"] + np.arange(COUNT, dtype=np.float32)
    np.testing.assert_allclose(found["z"], expected, rtol=1e-5, atol=1e-3)


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


@pytest.mark.parametrize("exactly", [True, False])
def test_sums_do_not_saturate(tmp_path, monkeypatch, exactly):
    """Without VNNI, uint8 times int8 is summed in pairs of 16 bits, unless asked otherwise."""
    monkeypatch.setattr(onnxrt, "sums_bytes_exactly", lambda: exactly and sums_bytes_exactly())
    weights = np.full((DEPTH, COUNT), 127, np.int8)
    model = onnx_ir.from_proto(_dynamic_product(weights, np.zeros(COUNT, np.int8)))
    with_precise_products(model)
    values = np.ones((1, TOKENS, DEPTH), np.float32)

    for one in (model, with_products_of_bytes(model, {"x": values})):
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
