"""Large constants go from a model's memory to files at the address of their content.

One file per graph. A tensor starts at a page, so that a runtime maps it; equal ones become one,
also those of graphs that came before in the same bundle.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx_ir

from lineup.bundles.bundle import WEIGHTS_FOLDER, weight_location
from lineup.types import AnyArray

INLINE_BYTES = 1024
"""Larger constants become external data."""

INLINE_GRAPH_BYTES = 2**20
"""Up to so much, the constants of a graph stay inside: a file of their own would save nothing."""

PAGE_BYTES = 4096


class WeightFiles:
    """The files with the weights of a bundle's graphs, until they are in the bundle.

    Args:
        folder: An existing folder; graphs beside it find their weights in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._places: dict[str, tuple[str, int]] = {}
        """Location and offset of every tensor by the hash of its content."""

    def stream(self, model: onnx_ir.Model) -> dict[str, Path]:
        """Move large constants from the model into a file; return the files that it refers to.

        Whatever else an exporter has put into a file of its own comes back into the model.
        """
        _inline_attributes(model)
        tensors = {
            value: value.const_value
            for value in model.graph.initializers.values()
            if value.const_value is not None
        }
        large = {value: one for value, one in tensors.items() if one.nbytes > INLINE_BYTES}
        if sum(one.nbytes for one in large.values()) <= INLINE_GRAPH_BYTES:
            large = {}
        for value, tensor in tensors.items():
            if value not in large:
                value.const_value = _inlined(tensor)
        locations: dict[str, Path] = {}
        hashes = self._write(large.values())
        for (value, tensor), sha256 in zip(large.items(), hashes, strict=True):
            location, offset = self._places[sha256]
            locations[location] = self.folder / location
            value.const_value = onnx_ir.ExternalTensor(
                location,
                offset,
                tensor.nbytes,
                tensor.dtype,
                shape=onnx_ir.Shape(tensor.shape.numpy()),
                name=value.name or "",
                base_dir=self.folder,
            )
        for path in locations.values():
            _own(path)
        return locations

    def _write(self, tensors: Iterable[onnx_ir.TensorProtocol]) -> list[str]:
        """Write what is not in a file yet into a new one; return the hash of every tensor."""
        hashes: list[str] = []
        offsets: dict[str, int] = {}
        whole = hashlib.sha256()
        (self.folder / WEIGHTS_FOLDER).mkdir(exist_ok=True)
        incoming = self.folder / WEIGHTS_FOLDER / "incoming"
        with incoming.open("wb") as stream:
            for tensor in tensors:
                content = _bytes_of(tensor.numpy())
                hashes.append(hashlib.sha256(content).hexdigest())
                if hashes[-1] in self._places or hashes[-1] in offsets:
                    continue
                padding = bytes(-stream.tell() % PAGE_BYTES)
                offsets[hashes[-1]] = stream.tell() + len(padding)
                for part in (padding, content):
                    stream.write(part)
                    whole.update(part)
        if not offsets:
            incoming.unlink()
            return hashes
        location = weight_location(whole.hexdigest())
        incoming.replace(self.folder / location)
        self._places |= {sha256: (location, offset) for sha256, offset in offsets.items()}
        return hashes


def _own(path: Path) -> None:
    """Give a file a content of its own: ONNX refuses weights that have a second name.

    A bundle holds links to the files of its earlier graphs.
    """
    if path.stat().st_nlink > 1:
        copied = path.with_suffix(".copy")
        shutil.copyfile(path, copied)
        copied.replace(path)


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


def _bytes_of(array: AnyArray) -> memoryview:
    """Return the bytes of an array: a copy of a transposed view, else the module's own memory."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
