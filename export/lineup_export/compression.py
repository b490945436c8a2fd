"""Weights in eight bits, widened where they are used: computation stays in single precision.

A large graph is mostly weights, which the runtime maps from their file: in eight bits they take a
quarter of the disk and of the file cache. Each is widened for its one product, and the wide copy is
gone after it. Symmetric, one scale per output channel, ONNX's own `DequantizeLinear`.
"""

from __future__ import annotations

import numpy as np
import onnx_ir

from lineup.types import AnyArray

COMPRESSED_ROLES = frozenset({"unet", "text_encoder", "text_encoder_2"})
"""What is compressed. Decoders stay as they are: what fingerprints compare is their trace."""

LEAST_WEIGHTS = 2**14
"""Smaller weights stay as they are, a denoiser's first and last layer among them."""

_SLOTS = {"Conv": 1, "Gather": 0, "Gemm": 1, "MatMul": 1}
"""Which input of an operator is the weight."""


def compress_weights(model: onnx_ir.Model) -> None:
    """Store the large weights of products and the rows of tables in eight bits; in place."""
    graph = model.graph
    for node in list(graph):
        weight = node.inputs[_SLOTS[node.op_type]] if node.op_type in _SLOTS else None
        if weight is None or not _is_large(weight):
            continue
        if node.op_type == "Gather":
            _widen_rows(graph, node, *_stored(graph, weight, -1))
            continue
        axis = 0 if node.op_type == "Conv" or node.attributes.get_int("transB", 0) == 1 else -1
        wide = onnx_ir.node("DequantizeLinear", _stored(graph, weight, axis), {"axis": axis})
        wide.outputs[0].name = f"{node.outputs[0].name}_weight"
        # ONNX Runtime works through a node's inputs from the last in the file to the first. Behind
        # what they are multiplied with, all weights would be wide before the first product is.
        graph.insert_before(graph[0], wide)
        node.replace_input_with(_SLOTS[node.op_type], wide.outputs[0])
    for name, value in list(graph.initializers.items()):
        if not value.uses():
            del graph.initializers[name]


def scales_of(weight: AnyArray, axis: int) -> AnyArray:
    """Return float32 scales of the weight's rank, one per channel of `axis`: its largest is 127."""
    others = tuple(one for one in range(weight.ndim) if one != axis % weight.ndim)
    largest = np.abs(weight).max(axis=others, keepdims=True)
    scales: AnyArray = np.where(largest > 0, largest / np.float32(127), np.float32(1))
    return scales


def eight_bits(weight: AnyArray, scales: AnyArray) -> AnyArray:
    """Return int8 of the weight's shape."""
    return np.rint(weight / scales).astype(np.int8)


def _is_large(value: onnx_ir.Value) -> bool:
    constant = value.const_value
    return (
        value.is_initializer()
        and constant is not None
        and constant.dtype == onnx_ir.DataType.FLOAT
        and len(constant.shape) > 1
        and constant.size >= LEAST_WEIGHTS
    )


def _widen_rows(
    graph: onnx_ir.Graph, node: onnx_ir.Node, table: onnx_ir.Value, scales: onnx_ir.Value
) -> None:
    """Take rows of a narrow table and widen those alone."""
    rows = node.outputs[0]
    narrow = onnx_ir.node("Gather", [table, node.inputs[1]], node.attributes)
    wide = onnx_ir.node("DequantizeLinear", [narrow.outputs[0], scales], {"axis": -1})
    narrow.outputs[0].name = f"{rows.name}_int8"
    wide.outputs[0].dtype = onnx_ir.DataType.FLOAT
    onnx_ir.convenience.replace_nodes_and_values(
        graph, node, [node], [narrow, wide], [rows], wide.outputs
    )


def _stored(graph: onnx_ir.Graph, weight: onnx_ir.Value, axis: int) -> list[onnx_ir.Value]:
    """Return a weight in eight bits and its scales; products that share one share these."""
    names = [f"{weight.name}.{kind}.{axis}" for kind in ("int8", "scales")]
    constant = weight.const_value
    if names[0] not in graph.initializers:
        assert constant is not None
        scales = scales_of(constant.numpy(), axis)
        # Made when it is written, so that an export holds one weight at a time.
        stored = onnx_ir.LazyTensor(
            lambda: onnx_ir.tensor(eight_bits(constant.numpy(), scales)),
            dtype=onnx_ir.DataType.INT8,
            shape=onnx_ir.Shape(constant.shape.numpy()),
            name=names[0],
        )
        for name, tensor in zip(
            names, (stored, onnx_ir.tensor(scales.reshape(-1), name=names[1])), strict=True
        ):
            graph.register_initializer(onnx_ir.Value(name=name, const_value=tensor))
    return [graph.initializers[name] for name in names]
