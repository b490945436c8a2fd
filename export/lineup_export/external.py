"""Large constants go from a model's memory to files at the address of their content."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np
import onnx_ir

from lineup.bundles.bundle import WEIGHTS_FOLDER, weight_location
from lineup.files import CHUNK_BYTES
from lineup.types import AnyArray

INLINE_BYTES = 1024
"""Larger constants become external data."""


def stream_weights(model: onnx_ir.Model, folder: Path) -> dict[str, bytes | Path]:
    """Move large constants from the model into files of the folder; equal ones become one.

    Whatever else an exporter has put into a file of its own comes back into the model.
    """
    (folder / WEIGHTS_FOLDER).mkdir(exist_ok=True)
    _inline_attributes(model)
    weights: dict[str, bytes | Path] = {}
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if tensor is None:
            continue
        if tensor.nbytes <= INLINE_BYTES:
            value.const_value = _inlined(tensor)
            continue
        location = _write_weight(tensor.numpy(), folder)
        weights[location] = folder / location
        value.const_value = onnx_ir.ExternalTensor(
            location,
            0,
            tensor.nbytes,
            tensor.dtype,
            shape=onnx_ir.Shape(tensor.shape.numpy()),
            name=value.name or "",
            base_dir=folder,
        )
    return weights


def _inline_attributes(model: onnx_ir.Model) -> None:
    """Bring the tensors of nodes into the model: above 2 GB an exporter moves them out as well."""
    for node in model.graph.all_nodes():
        for name, attribute in list(node.attributes.items()):
            if attribute.type == onnx_ir.AttributeType.TENSOR and not attribute.is_ref():
                inlined = _inlined(attribute.as_tensor())
                node.attributes[name] = onnx_ir.AttrTensor(name, inlined)


def _inlined(tensor: onnx_ir.TensorProtocol) -> onnx_ir.TensorProtocol:
    """Return a tensor that needs no file."""
    if not isinstance(tensor, onnx_ir.ExternalTensor):
        return tensor
    return onnx_ir.Tensor(np.array(tensor.numpy()), name=tensor.name)


def _write_weight(array: AnyArray, folder: Path) -> str:
    """Write an array to the address of its content, hashing on the way; return the location."""
    # One tensor's copy where it is a transposed view; otherwise the module's own memory.
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    digest = hashlib.sha256()
    handle, incoming = tempfile.mkstemp(dir=folder / WEIGHTS_FOLDER)
    with os.fdopen(handle, "wb") as stream:
        for start in range(0, len(content), CHUNK_BYTES):
            chunk = content[start : start + CHUNK_BYTES]
            digest.update(chunk.data)
            stream.write(chunk.data)
    location = weight_location(digest.hexdigest())
    target = Path(incoming).replace(folder / location)
    target.chmod(0o644)
    return location
