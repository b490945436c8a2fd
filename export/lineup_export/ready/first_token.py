"""What is asked for of the first token alone is computed for it alone.

Of the last block of a tower only the CLS token is used, by every row of features and by the final
embedding. Past its attention every token goes its own way, so the others need not be computed:
three quarters of the products of one block of twelve.
"""

from __future__ import annotations

import numpy as np
import onnx_ir
from onnx_ir.tape import Tape

from lineup.backends.building import BLOCKWISE_PRODUCT, INTEGER_PRODUCT
from lineup_export.constants import constant_from_value

TOKENS_AXIS = 1
"""Of activations, (images, tokens, dimension)."""

_ELEMENTWISE = frozenset(
    {"Abs", "Add", "Clip", "Div", "Erf", "Exp", "Gelu", "Identity", "Max", "Min"}
    | {"Mul", "Neg", "Pow", "Relu", "Sigmoid", "Sqrt", "Sub", "Tanh"}
)
_PRODUCTS = frozenset({"MatMul", BLOCKWISE_PRODUCT, INTEGER_PRODUCT})
"""Of rows with a constant."""

_ALONG_ROWS = {"Concat": 0, "Gather": 0, "LayerNormalization": -1, "Softmax": -1}
"""Where their axis is the last one; and which it is where none is named."""

_REDUCTIONS = frozenset({"ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"})


def compute_first_token_alone(model: onnx_ir.Model) -> int:
    """Let the tail of a graph that only the first token is taken of see no other, in place.

    Args:
        model: Sorted. Its activations are (images, tokens, dimension).

    Returns:
        How many nodes see one token now.
    """
    tail: set[onnx_ir.Node] = set()
    for node in reversed(model.graph):
        if _is_by_row(node) and all(_needs_first(one, tail) for one in node.outputs):
            tail.add(node)
    taken: dict[onnx_ir.Value, onnx_ir.Value] = {}
    for node in [one for one in model.graph if one in tail]:
        for at, value in enumerate(node.inputs):
            if value is None or _is_constant(value) or value.producer() in tail:
                continue
            if value not in taken:
                taken[value] = _first_of(model, value, node)
            node.replace_input_with(at, taken[value])
    return len(tail)


def _first_of(model: onnx_ir.Model, value: onnx_ir.Value, user: onnx_ir.Node) -> onnx_ir.Value:
    tape = Tape()
    first = tape.initializer(onnx_ir.tensor(np.array([0]), name=f"{value.name}_first"))
    taken = tape.op("Gather", [value, first], {"axis": TOKENS_AXIS})
    model.graph.register_initializer(first)
    model.graph.insert_before(user, tape.nodes)
    return taken


def _needs_first(value: onnx_ir.Value, tail: set[onnx_ir.Node]) -> bool:
    """Return whether nothing but the first token of a value counts."""
    users = [use.node for use in value.uses()]
    return (
        bool(users)
        and not value.is_graph_output()
        and all(one in tail or _takes_first(one, value) for one in users)
    )


def _takes_first(node: onnx_ir.Node, value: onnx_ir.Value) -> bool:
    if node.op_type != "Gather" or node.inputs[0] is not value:
        return False
    index = constant_from_value(node.inputs[1])
    return (
        node.attributes.get_int("axis", 0) == TOKENS_AXIS and index is not None and not index.any()
    )


def _is_by_row(node: onnx_ir.Node) -> bool:
    """Return whether each token of what a node puts out follows from the same token alone."""
    others = node.inputs[1:]
    if node.op_type in _PRODUCTS:
        return all(one is None or _is_constant(one) for one in others)
    arrays = [constant_from_value(one) for one in node.inputs]
    if node.op_type == "QuantizeLinear":
        return all(array is not None and array.size == 1 for array in arrays[1:])
    if any(array is not None and array.ndim > 1 and array.shape[-2] > 1 for array in arrays):
        return False  # a number per token
    if node.op_type in _ALONG_ROWS:
        return node.attributes.get_int("axis", _ALONG_ROWS[node.op_type]) == -1
    if node.op_type in _REDUCTIONS:
        listed = [] if len(arrays) < 2 or arrays[1] is None else arrays[1].tolist()
        return list(node.attributes.get_ints("axes", listed)) == [-1]
    return node.op_type in _ELEMENTWISE


def _is_constant(value: onnx_ir.Value) -> bool:
    return constant_from_value(value) is not None
