"""Rules that keep every backend open to a graph."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import ModelProto, TensorProto

from lineup.backends.building import RUNTIME_DOMAIN

_ACCIDENTS = (TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
"""No single-precision module means to compute in these."""


def check_rules(
    model: ModelProto,
    opset: int,
    *,
    mixed_precision: bool = False,
    runtime_only: bool = False,
    path: Path | None = None,
) -> None:
    """Check that every backend can take the graph; `path` is its file, if it has external data.

    Casts inside a graph of mixed precision are on purpose, and operators of ONNX Runtime alone,
    which close it to TensorRT, where `runtime_only` says so.

    Raises:
        RuntimeError: The graph has another operator set, operators that a backend lacks, a
            Resize with antialiasing, an operator on bytes other than a cast, or a cast inside it
            without being of mixed precision.
    """
    versions = {entry.domain: entry.version for entry in model.opset_import}
    if runtime_only:
        versions.pop(RUNTIME_DOMAIN, None)
    if versions != {"": opset}:
        raise RuntimeError(f"the graph uses the operator sets {versions}, expected {opset} only")
    onnx.checker.check_model(model if path is None else str(path), full_check=True)
    operators = {node.op_type for node in model.graph.node}
    refused = operators & {"DFT", "STFT", "Loop", "Scan", "If", "RandomNormal"}
    if refused:
        raise RuntimeError(f"the graph has operators that a backend lacks: {sorted(refused)}")
    fed = {value.name for value in model.graph.input}
    byte_inputs = {
        value.name
        for value in model.graph.input
        if value.type.tensor_type.elem_type == TensorProto.UINT8
    }
    for node in model.graph.node:
        if node.op_type != "Cast" and not byte_inputs.isdisjoint(node.input):
            raise RuntimeError(f"{node.name!r} takes bytes, which TensorRT can only cast")
        if node.op_type == "Resize" and any(a.name == "antialias" and a.i for a in node.attribute):
            raise RuntimeError(f"{node.name!r} resizes with antialiasing, which TensorRT lacks")
        if mixed_precision or node.op_type != "Cast" or node.input[0] in fed:
            continue
        if any(attribute.i in _ACCIDENTS for attribute in node.attribute):
            raise RuntimeError(f"the graph casts {node.input[0]!r}, which is not an input")
