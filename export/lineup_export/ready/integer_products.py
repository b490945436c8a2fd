"""Products in eight bits as they are published, made precise: a scale per row and block.

`quantize_dynamic` of ONNX Runtime gives all rows of an activation one scale. The tokens of a CLIP
differ a hundredfold in size, so the small ones, its CLS token among them, keep few levels: the
token of block 8 has a correlation of 0.83 with what the same weights give in single precision, once
the mean is taken off. `MatMulNBits` takes the same weights and quantises every 64 elements of a row
by themselves: 0.998, at a tenth more time. It also sums alike on every processor, where the integer
product saturates without a word on those without VNNI (uint8 times int8 in pairs of 16 bits).

Where a processor multiplies bytes faster (VNNI, AMX), a form that ONNX Runtime has instructions for
takes a third of that time: one byte per element, a scale per row. What the large elements of a row
would cost the others is spared by multiplying the few channels apart in which they are, in single
precision: they are the same in all images (Dettmers et al., arXiv 2208.07339). Where 0 lies among
the bytes follows the values: an activation function puts out hardly any below it. 0.998 as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir
from onnx_ir.convenience import replace_all_uses_with
from onnx_ir.tape import Tape

from lineup.backends.building import BLOCKWISE_PRODUCT, INTEGER_PRODUCT, RUNTIME_DOMAIN
from lineup.errors import BundleFormatError
from lineup.types import AnyArray
from lineup_export.constants import constant_from_value

BLOCK = 64
"""Elements of a row that share a scale."""

APART = 16
"""Channels of an activation that are multiplied in single precision. 4 are almost as good."""

STEPS = 255
"""Between the ends of a byte."""

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


def activations_of_products(model: onnx_ir.Model) -> list[str]:
    """Return the names of what blockwise products multiply, each once."""
    nodes = [node for node in model.graph if node.op_type == BLOCKWISE_PRODUCT]
    return list(dict.fromkeys(node.inputs[0].name or "" for node in nodes if node.inputs[0]))


def with_products_of_bytes(model: onnx_ir.Model, samples: Mapping[str, AnyArray]) -> onnx_ir.Model:
    """Return a copy whose blockwise products are of one byte per element, a few channels apart.

    Args:
        model: What `with_precise_products` made; it stays as it is.
        samples: Of every activation that is multiplied (`activations_of_products`), float32
            (..., K): they tell which channels are large, and where bytes begin.
    """
    copy = model.clone()
    written: dict[onnx_ir.Value, _Bytes] = {}
    products = [node for node in copy.graph if node.op_type == BLOCKWISE_PRODUCT]
    for number, node in enumerate(products):
        activations, weights, zeros, scales = _row_products(node)
        tape = Tape()
        if activations not in written:
            rows = samples[activations.name or ""].reshape(-1, len(weights))
            written[activations] = _bytes(tape, activations, rows, copy.opset_imports[""])
        left = written[activations]
        last, bias = _with_bias(node)
        apart = (weights[left.apart].astype(np.float32) - zeros) * scales
        constants = {
            "weights": weights,
            "one": np.float32(1),
            "scales": scales,
            "origin": np.uint8(left.origin),
            "zeros": zeros,
            "apart": np.array([*apart, bias], np.float32),
        }
        *right, kernel = _constants(tape, f"bytes_{number}", constants)
        product = tape.op(INTEGER_PRODUCT, [left.values, *right], domain=RUNTIME_DOMAIN)
        rest = tape.op("MatMul", [left.large, kernel])
        product = tape.op("Add", [tape.op("Mul", [product, left.scale]), rest])
        for value in tape.initializers:
            copy.graph.register_initializer(value)
        copy.graph.insert_before(last, tape.nodes)
        name = last.outputs[0].name
        replace_all_uses_with(last.outputs[0], product, replace_graph_outputs=True)
        copy.graph.remove([last, node] if last is not node else node, safe=True)
        product.name = name
    return copy


def _with_bias(product: onnx_ir.Node) -> tuple[onnx_ir.Node, AnyArray]:
    """Return the node that adds a bias to a product, and the bias; zeros if none does."""
    count = product.attributes["N"].as_int()
    added = None if product.outputs[0].is_graph_output() else _only_user(product, "Add")
    bias = None if added is None else constant_from_value(_other(added, product.outputs[0]))
    if added is None or bias is None or bias.shape != (count,):
        return product, np.zeros(count, np.float32)
    return added, bias


@dataclass(frozen=True, slots=True)
class _Bytes:
    """An activation in bytes.

    Attributes:
        values: Uint8 (..., K): `origin` where a channel is apart.
        scale: Of each row, float32 (..., 1).
        large: The channels that are apart, and 1, which takes up a bias: float32
            (..., `APART` + 1).
        apart: Which those are, rising.
        origin: What 0 is among the bytes.
    """

    values: onnx_ir.Value
    scale: onnx_ir.Value
    large: onnx_ir.Value
    apart: AnyArray
    origin: int


def _bytes(tape: Tape, activations: onnx_ir.Value, rows: AnyArray, version: int) -> _Bytes:
    apart = np.sort(np.argsort(-np.abs(rows).max(axis=0), kind="stable")[:APART])
    kept = np.ones(rows.shape[1], np.float32)
    kept[apart] = 0
    origin = _origin(rows * kept)
    constants = {
        "apart": apart,
        "kept": kept,
        "above": np.float32(1 / (STEPS - origin)),
        "below": np.float32(-1 / origin),
        "least": np.float32(SMALLEST_SCALE),
        "one": np.float32(1),
        "origin": np.uint8(origin),
    }
    owner = f"{activations.name}_bytes"
    where, kept_there, up, down, least, one, zero = _constants(tape, owner, constants)
    values = tape.op("Mul", [activations, kept_there])
    axes: tuple[list[onnx_ir.Value], dict[str, Any]] = ([], {"axes": [-1]})
    if version >= _AXES_ARE_INPUTS:
        axes = (_constants(tape, owner, {"axis": np.array([-1])}), {})
    ends = [
        tape.op("Mul", [tape.op(reduce, [values, *axes[0]], {**axes[1], "keepdims": 1}), steps])
        for reduce, steps in (("ReduceMax", up), ("ReduceMin", down))
    ]
    scale = tape.op("Max", [*ends, least])
    ones = tape.op("Div", [scale, scale])
    gathered = tape.op("Gather", [activations, where], {"axis": -1})
    large = tape.op("Concat", [gathered, ones], {"axis": -1})
    quantised = tape.op("QuantizeLinear", [tape.op("Div", [values, scale]), one, zero])
    return _Bytes(quantised, scale, large, apart, origin)


def _origin(rows: AnyArray) -> int:
    """Return where 0 lies among the bytes for steps that are small, in mean square over rows."""
    below, above = -rows.min(axis=1), rows.max(axis=1)
    share = (below / np.maximum(below + above, SMALLEST_SCALE))[:, None]
    origins = np.arange(1, STEPS)
    steps = np.maximum(share / origins, (1 - share) / (STEPS - origins))
    return int(origins[np.square(steps).mean(axis=0).argmin()])


def _constants(tape: Tape, owner: str, arrays: Mapping[str, AnyArray]) -> list[onnx_ir.Value]:
    return [tape.initializer(_tensor(array, f"{owner}_{name}")) for name, array in arrays.items()]


def _tensor(array: AnyArray, name: str) -> onnx_ir.TensorProtocol:
    return onnx_ir.tensor(array, name=name)


def _row_products(node: onnx_ir.Node) -> tuple[onnx_ir.Value, AnyArray, AnyArray, AnyArray]:
    """Return activations, and weights (K, N), zero points and scales (N,) of a blockwise product.

    As `with_precise_products` writes it: all blocks of a row of weights have one scale.
    """
    activations, *constants = node.inputs
    packed, scales, zeros = (constant_from_value(one) for one in constants)
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
    kernel = constant_from_value(weights)
    if quantiser is None or quantiser.op_type != "DynamicQuantizeLinear" or scaled is None:
        return None
    assert widened is not None
    scales = _weight_scales(scaled, widened.outputs[0], quantiser.outputs[1])
    activations = quantiser.inputs[0]
    if kernel is None or kernel.ndim != 2 or scales is None or activations is None:
        return None
    count = kernel.shape[1]
    origin = np.zeros(1, kernel.dtype) if zeros is None else constant_from_value(zeros)
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
    return constant_from_value(_other(producer, activation_scale))


def _other(product: onnx_ir.Node, factor: onnx_ir.Value) -> onnx_ir.Value | None:
    first, second = product.inputs
    return second if first is factor else first


def _only_user(node: onnx_ir.Node, op_type: str) -> onnx_ir.Node | None:
    users = [use.node for use in node.outputs[0].uses()]
    return users[0] if len(users) == 1 and users[0].op_type == op_type else None
