"""Products in eight bits as they are published, made precise: a scale per row and block.

`quantize_dynamic` of ONNX Runtime gives all rows of an activation one scale. The tokens of a CLIP
differ a hundredfold in size, so the small ones, its CLS token among them, keep few levels: the
token of block 8 has a correlation of 0.83 with what the same weights give in single precision, once
the mean is taken off. `MatMulNBits` takes the same weights and quantises every 64 elements of a row
by themselves: 0.998, at a tenth more time. It also sums alike on every processor, where the integer
product saturates without a word on those without VNNI (uint8 times int8 in pairs of 16 bits).

A processor with AMX has instructions for integer products that `MatMulNBits` does not use. There
two such products are faster: activations in two digits of seven bits each, with a scale per row.
That is as good as single precision, and seven bits cannot saturate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir
from onnx_ir.convenience import get_const_tensor, replace_all_uses_with
from onnx_ir.tape import Tape

from lineup.backends.building import BLOCKWISE_PRODUCT, INTEGER_PRODUCT, RUNTIME_DOMAIN
from lineup.errors import BundleFormatError
from lineup.types import AnyArray

BLOCK = 64
"""Elements of a row that share a scale."""

LARGEST_DIGIT, ORIGIN = 63, 64
"""Of the signed digits of an activation, and what makes them unsigned: 1 to 127."""

STEPS = 2 * LARGEST_DIGIT
"""Of the low digit, in one of the high one."""

ORIGIN_OF_BYTES = 128
"""What makes signed bytes unsigned."""

SMALLEST_SCALE = 1e-30
"""Of a row of zeros, which no division by it changes."""

_AXES_ARE_INPUTS = 18
"""Version of ONNX's operators since which a reduction's axes are no attribute."""

IN_INT8, IN_SINGLE_PRECISION = 4, 1
"""What `accuracy_level` says of how a product is computed."""


@dataclass(frozen=True, slots=True)
class _IntegerProduct:
    """DynamicQuantizeLinear, MatMulInteger, Cast, and Mul by the product of both scales.

    Attributes:
        activations: Before they are quantised, float32 (..., K).
        weights: Uint8 or int8, (K, N).
        zeros: Zero points, of the weights' type, (N,).
        scales: Float32, (N,).
        product: What comes out, float32 (..., N).
    """

    activations: onnx_ir.Value
    weights: AnyArray
    zeros: AnyArray
    scales: AnyArray
    product: onnx_ir.Value


def with_precise_products(model: onnx_ir.Model) -> int:
    """Replace every integer product of a graph by a blockwise one, in place.

    Returns:
        How many there were.

    Raises:
        BundleFormatError: One is not of the form that `quantize_dynamic` writes.
    """
    products = list(_integer_products(model.graph))
    for number, one in enumerate(products):
        depth, count = one.weights.shape
        blocks = -(-depth // BLOCK)
        rows = np.zeros((count, blocks * BLOCK), np.uint8)
        rows[:, :depth] = _unsigned(one.weights).T
        constants = {
            "weights": rows.reshape(count, blocks, BLOCK),
            "scales": np.repeat(one.scales[:, None], blocks, axis=1),
            "zeros": np.repeat(_unsigned(one.zeros)[:, None], blocks, axis=1),
        }
        inputs = [one.activations]
        for name, array in constants.items():
            named = f"product_{number}_{name}"
            tensor = onnx_ir.tensor(array, name=named)
            inputs.append(onnx_ir.Value(name=named, const_value=tensor))
            model.graph.register_initializer(inputs[-1])
        sizes = {"K": depth, "N": count, "bits": 8, "block_size": BLOCK}
        node = onnx_ir.node(
            BLOCKWISE_PRODUCT, inputs, {**sizes, "accuracy_level": IN_INT8}, domain=RUNTIME_DOMAIN
        )
        source = one.product.producer()
        assert source is not None
        model.graph.insert_before(source, node)
        node.outputs[0].name = one.product.name
        one.product.name = f"product_{number}_integer"
        replace_all_uses_with(one.product, node.outputs[0], replace_graph_outputs=True)
    if products:
        model.opset_imports[RUNTIME_DOMAIN] = 1
    return len(products)


def in_single_precision(model: onnx_ir.Model) -> onnx_ir.Model:
    """Return a copy whose blockwise products round no activations: what they are compared with."""
    copy = model.clone()
    for node in copy.graph:
        if node.op_type == BLOCKWISE_PRODUCT:
            node.attributes["accuracy_level"] = onnx_ir.AttrInt64(
                "accuracy_level", IN_SINGLE_PRECISION
            )
    return copy


def with_products_of_digits(model: onnx_ir.Model) -> onnx_ir.Model:
    """Return a copy whose blockwise products are integer products of two digits.

    A row is its scale times (high + low / 126), with whole numbers from -63 to 63.
    """
    copy = model.clone()
    written: dict[onnx_ir.Value, list[onnx_ir.Value]] = {}
    products = [node for node in copy.graph if node.op_type == BLOCKWISE_PRODUCT]
    for number, node in enumerate(products):
        activations, weights, zeros, scales = _row_products(node)
        tape = Tape()
        if activations not in written:
            depth = len(weights)
            written[activations] = _digits(tape, activations, depth, copy.opset_imports[""])
        high, low, scale = written[activations]
        constants = {
            "weights": weights,
            "one": np.float32(1),
            "scales": scales,
            "origin": np.uint8(ORIGIN),
            "zeros": zeros,
            "low_scales": scales / STEPS,
        }
        kernel, one, scales_of_high, *rest, scales_of_low = _constants(
            tape, f"digits_{number}", constants
        )
        parts = [
            tape.op(INTEGER_PRODUCT, [digit, kernel, one, steps, *rest], domain=RUNTIME_DOMAIN)
            for digit, steps in ((high, scales_of_high), (low, scales_of_low))
        ]
        product = tape.op("Mul", [tape.op("Add", parts), scale])
        for value in tape.initializers:
            copy.graph.register_initializer(value)
        copy.graph.insert_before(node, tape.nodes)
        name = node.outputs[0].name
        replace_all_uses_with(node.outputs[0], product, replace_graph_outputs=True)
        copy.graph.remove(node, safe=True)
        product.name = name
    return copy


def _digits(
    tape: Tape, activations: onnx_ir.Value, depth: int, version: int
) -> list[onnx_ir.Value]:
    """Return the high and the low digits of rows, uint8 (..., depth), and their scales (..., 1)."""
    constants = {
        "share": np.float32(1 / LARGEST_DIGIT),
        "least": np.float32(SMALLEST_SCALE),
        "low_share": np.float32(1 / STEPS),
        "origin": np.array([ORIGIN], np.uint8),
        "rows": np.array([-1, depth]),
        "list": np.array([-1]),
    }
    owner = f"{activations.name}_digits"
    share, least, low_share, origin, rows, one_list = _constants(tape, owner, constants)
    sizes = tape.op("Abs", [activations])
    if version < _AXES_ARE_INPUTS:
        largest = tape.op("ReduceMax", [sizes], {"axes": [-1], "keepdims": 1})
    else:
        (axis,) = _constants(tape, owner, {"axis": np.array([-1])})
        largest = tape.op("ReduceMax", [sizes, axis], {"keepdims": 1})
    scale = tape.op("Max", [tape.op("Mul", [largest, share]), least])
    values = tape.op("Reshape", [activations, rows])
    steps = tape.op("Reshape", [scale, one_list])  # of high digits, for each row
    origins = tape.op("Expand", [origin, tape.op("Shape", [steps])])
    by_row = {"axis": 0}
    high = tape.op("QuantizeLinear", [values, steps, origins], by_row)
    rest = tape.op("Sub", [values, tape.op("DequantizeLinear", [high, steps, origins], by_row)])
    low_steps = tape.op("Mul", [steps, low_share])
    low = tape.op("QuantizeLinear", [rest, low_steps, origins], by_row)
    shape = tape.op("Shape", [activations])
    return [*(tape.op("Reshape", [digit, shape]) for digit in (high, low)), scale]


def _constants(tape: Tape, owner: str, arrays: Mapping[str, AnyArray]) -> list[onnx_ir.Value]:
    return [tape.initializer(_tensor(array, f"{owner}_{name}")) for name, array in arrays.items()]


def _tensor(array: AnyArray, name: str) -> onnx_ir.TensorProtocol:
    return onnx_ir.tensor(array, name=name)


def _row_products(node: onnx_ir.Node) -> tuple[onnx_ir.Value, AnyArray, AnyArray, AnyArray]:
    """Return activations, and weights (K, N), zero points and scales (N,) of a blockwise product.

    As `with_precise_products` writes it: all blocks of a row of weights have one scale.
    """
    activations, *constants = node.inputs
    packed, scales, zeros = (_constant(one) for one in constants)
    assert activations is not None
    assert packed is not None
    assert scales is not None
    assert zeros is not None
    depth = node.attributes["K"].as_int()
    weights = packed.reshape(len(packed), -1)[:, :depth].T
    return activations, _signed(weights), _signed(zeros[:, 0]), scales[:, 0].copy()


def _signed(values: AnyArray) -> AnyArray:
    """Return uint8 values as int8; the difference of two stays what it is."""
    return np.ascontiguousarray(values.astype(np.int16) - ORIGIN_OF_BYTES).astype(np.int8)


def _unsigned(values: AnyArray) -> AnyArray:
    """Return eight-bit values as uint8; the difference of two stays what it is."""
    if values.dtype == np.uint8:
        return values
    return (values.astype(np.int16) + ORIGIN_OF_BYTES).astype(np.uint8)


def _integer_products(graph: onnx_ir.Graph) -> Iterator[_IntegerProduct]:
    for node in list(graph):
        if node.op_type == "MatMulInteger":
            found = _integer_product(node)
            if found is None:
                raise BundleFormatError(
                    f"The integer product {node.name or node.outputs[0].name!r} is not of the form "
                    "that ONNX Runtime's `quantize_dynamic` writes.",
                    hint="Quantise the tower again with it, or use the one in fp32.",
                )
            yield found


def _integer_product(node: onnx_ir.Node) -> _IntegerProduct | None:
    quantised, weights, _, zeros = (*node.inputs, None, None)[:4]
    quantiser = None if quantised is None else quantised.producer()
    widened = _only_user(node, "Cast")
    scaled = None if widened is None else _only_user(widened, "Mul")
    kernel = _constant(weights)
    if quantiser is None or quantiser.op_type != "DynamicQuantizeLinear" or scaled is None:
        return None
    assert widened is not None
    scales = _weight_scales(scaled, widened.outputs[0], quantiser.outputs[1])
    activations = quantiser.inputs[0]
    if kernel is None or kernel.ndim != 2 or scales is None or activations is None:
        return None
    count = kernel.shape[1]
    origin = np.zeros(1, kernel.dtype) if zeros is None else _constant(zeros)
    if origin is None:
        return None
    return _IntegerProduct(
        activations=activations,
        weights=kernel,
        zeros=np.broadcast_to(origin.ravel(), (count,)),
        scales=np.broadcast_to(scales.astype(np.float32).ravel(), (count,)),
        product=scaled.outputs[0],
    )


def _weight_scales(
    scaled: onnx_ir.Node, widened: onnx_ir.Value, activation_scale: onnx_ir.Value
) -> AnyArray | None:
    """Return the constant factor of the product of both scales."""
    both = _other(scaled, widened)
    producer = None if both is None else both.producer()
    if producer is None or producer.op_type != "Mul":
        return None
    return _constant(_other(producer, activation_scale))


def _other(product: onnx_ir.Node, factor: onnx_ir.Value) -> onnx_ir.Value | None:
    first, second = product.inputs
    return second if first is factor else first


def _only_user(node: onnx_ir.Node, op_type: str) -> onnx_ir.Node | None:
    users = [use.node for use in node.outputs[0].uses()]
    return users[0] if len(users) == 1 and users[0].op_type == op_type else None


def _constant(value: onnx_ir.Value | None) -> AnyArray | None:
    tensor = None if value is None else get_const_tensor(value)
    return None if tensor is None else tensor.numpy()
