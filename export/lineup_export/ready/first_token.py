"""What is asked for of the first token alone is computed for it alone.

Of the last block of a tower only the CLS token is used, by every row of features and by the final
embedding. Past its attention every token goes its own way, so the others need not be computed:
three quarters of the products of one block of twelve.
"""

from __future__ import annotations

import numpy as np
import onnx_ir
from onnx_ir.convenience import get_const_tensor
from onnx_ir.tape import Tape

from lineup.backends.building import BLOCKWISE_PRODUCT, INTEGER_PRODUCT

TOKENS_AXIS = 1
"""Of activations, (images, tokens, dimension)."""

_ELEMENTWISE = frozenset(
    {"Abs", "Add", "Clip", "Div", "Erf", "Exp", "Gelu", "Identity", "Max", "Min"}
    | {"Mul", "Neg", "Pow", "Relu", "Sigmoid", "Sqrt", "Sub", "Tanh"}
)
_PRODUCTS = frozenset({"MatMul", BLOCKWISE_PRODUCT, INTEGER_PRODUCT})
"""Of rows with a constant."""

_ALONG_ROWS = frozenset({"Concat", "Gather", "LayerNormalization", "Softmax"})
"""Where their axis is the last one."""

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
            if value is None or get_const_tensor(value) is not None or value.producer() in tail:
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
    if node.op_type != "Gather" or node.inputs[0] is not value or _axis(node, 0) != TOKENS_AXIS:
        return False
    index = get_const_tensor(node.inputs[1]) if node.inputs[1] is not None else None
    return index is not None and not np.any(index.numpy())


def _is_by_row(node: onnx_ir.Node) -> bool:
    """Return whether each token of what a node puts out follows from the same token alone."""
    others = node.inputs[1:]
    if node.op_type in _PRODUCTS:
        return all(one is None or get_const_tensor(one) is not None for one in others)
    if node.op_type == "QuantizeLinear":
        return all(one is None or _is_scalar(one) for one in others)
    if not all(_spares_tokens(one) for one in node.inputs):
        return False
    if node.op_type in _ALONG_ROWS:
        return _axis(node, -1 if node.op_type in {"LayerNormalization", "Softmax"} else 0) == -1
    if node.op_type in _REDUCTIONS:
        axes = node.attributes.get("axes")
        listed = None if len(others) == 0 or others[0] is None else get_const_tensor(others[0])
        found = axes.as_ints() if axes else [] if listed is None else listed.numpy().tolist()
        return list(found) == [-1]
    return node.op_type in _ELEMENTWISE


def _spares_tokens(value: onnx_ir.Value | None) -> bool:
    """Return whether a value is no constant with a number per token."""
    tensor = None if value is None else get_const_tensor(value)
    return tensor is None or len(tensor.shape) < 2 or tensor.shape[-2] == 1


def _is_scalar(value: onnx_ir.Value) -> bool:
    tensor = get_const_tensor(value)
    return tensor is not None and tensor.size == 1


def _axis(node: onnx_ir.Node, default: int) -> int:
    attribute = node.attributes.get("axis")
    return default if attribute is None else attribute.as_int()
