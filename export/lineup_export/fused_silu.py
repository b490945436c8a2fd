"""SiLU as one operator of ONNX Runtime, for graphs that run on a CPU.

Written out it is a sigmoid and a product, and the sigmoid is one more array as large as the
features while both are at work. ONNX Runtime's QuickGelu, x * sigmoid(alpha x), with alpha 1 is the
same to the last bit. Measured on the decoder of SD-Turbo at 256 pixels: 222 MiB of private memory
written out, 161 MiB fused.
"""

from __future__ import annotations

from onnx import ModelProto, NodeProto, helper

from lineup_export.rules import RUNTIME_DOMAIN

OPERATOR = "QuickGelu"


def fuse_silu(model: ModelProto) -> None:
    """Put the operator in the place of every product of a value with its own sigmoid.

    Args:
        model: Changed in place.
    """
    users: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    outputs = {value.name for value in model.graph.output}
    fused = []
    for node in model.graph.node:
        product = _product(node, users.get(node.output[0], []))
        if product is not None and node.output[0] not in outputs:
            product.op_type, product.domain = OPERATOR, RUNTIME_DOMAIN
            product.attribute.append(helper.make_attribute("alpha", 1.0))
            product.input[:] = [node.input[0]]
            fused.append(node)
    for node in fused:
        model.graph.node.remove(node)
    known = {entry.domain for entry in model.opset_import}
    if fused and RUNTIME_DOMAIN not in known:
        model.opset_import.append(helper.make_opsetid(RUNTIME_DOMAIN, 1))


def _product(node: NodeProto, users: list[NodeProto]) -> NodeProto | None:
    """Return the only user of a sigmoid when it multiplies it with what the sigmoid is of."""
    if node.op_type != "Sigmoid" or len(users) != 1 or users[0].op_type != "Mul":
        return None
    operands = {node.input[0], node.output[0]}
    return users[0] if set(users[0].input) == operands else None
