"""Where an ONNX file looks for its external data, and what is left of it without weights.

A graph names the files that hold its weights, and the runtime opens what it names. Measured with
onnxruntime on CPU: 1.20.1 loads "../x", "/x" and links that leave the model's folder; 1.31.1
refuses all three. No release knows which files were verified. So the bundle reads the names itself
and accepts only weights of its manifest.

The ONNX library is not a dependency of the runtime; the few fields needed are walked in the
protocol buffer's wire format (https://protobuf.dev/programming-guides/encoding/), numbers of
onnx.proto. Tensor payloads are skipped, so the cost does not grow with the weights.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lineup.errors import BundleFormatError

_CHILDREN: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
}
"""Message type -> field number -> message type, for every way from a model to a tensor."""

_OPERATOR_SET = 8
"""Field of ModelProto: domain and version of the operators it uses."""

_OP_TYPE = 4
"""Field of NodeProto."""

_DATA_TYPE, _EXTERNAL_DATA = 2, 13
"""Fields of TensorProto."""

_INT8 = 3
"""TensorProto.DataType of signed bytes."""

_FLOATING = frozenset({1, 10, 11, 16})
"""TensorProto.DataType: float, float16, double, bfloat16."""

_VALUE_FIELDS = frozenset({4, 9, 10})
"""Fields of TensorProto that hold floating-point values: float_data, raw_data, double_data."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def external_locations(path: Path) -> frozenset[str]:
    """Return the names of all external data that an ONNX file refers to.

    Raises:
        BundleFormatError: The file is not a protocol buffer, so not an ONNX graph.
    """
    with _mapped(path) as data:
        return frozenset(
            data[start:end].decode("utf-8")
            for tensor in _messages(data, "TensorProto")
            for start, end in _locations(data, *tensor)
        )


def operator_domains(path: Path) -> frozenset[str]:
    """Return the domains of a graph's operators; "" is ONNX itself.

    Raises:
        BundleFormatError: The file is not a protocol buffer, so not an ONNX graph.
    """
    with _mapped(path) as data:
        sets = [
            {key: data[a:b].decode("utf-8") for key, a, b in _byte_fields(data, start, end)}
            for number, start, end in _byte_fields(data, 0, len(data))
            if number == _OPERATOR_SET
        ]
        return frozenset(one.get(1, "") for one in sets)


def has_int8_weights(path: Path) -> bool:
    """Tell whether a graph stores constants in signed eight bits, to be widened where used.

    Raises:
        BundleFormatError: The file is not a protocol buffer, so not an ONNX graph.
    """
    with _mapped(path) as data:
        tensors = _messages(data, "TensorProto")
        return any(_int_field(data, *one, _DATA_TYPE) == _INT8 for one in tensors)


def has_operator(path: Path, *op_types: str) -> bool:
    """Tell whether a graph has a node of one of some types, of whatever domain.

    Raises:
        BundleFormatError: The file is not a protocol buffer, so not an ONNX graph.
    """
    wanted = {one.encode() for one in op_types}
    with _mapped(path) as data:
        return any(
            number == _OP_TYPE and data[a:b] in wanted
            for node in _messages(data, "NodeProto")
            for number, a, b in _byte_fields(data, *node)
        )


def structure_digest(path: Path) -> str:
    """Return a hex SHA-256 that two graphs share when they differ in nothing but weights.

    The values and file names of floating-point constants are left out; integer constants, which
    hold shapes and indices, belong to the structure.

    Raises:
        BundleFormatError: The file is not a protocol buffer, so not an ONNX graph.
    """
    digest = hashlib.sha256()
    with _mapped(path) as data:
        at = 0
        for start, end in sorted(_weight_ranges(data)):
            digest.update(data[at:start])
            at = end
        digest.update(data[at:])
    return digest.hexdigest()


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    """Yield the content of an ONNX file; what is wrong with it becomes a BundleFormatError."""
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as m:
            yield m
    except (ValueError, IndexError) as error:
        raise BundleFormatError(
            f"{path}: not an ONNX graph: {error}", hint="Export the bundle again."
        ) from error


def _weight_ranges(data: mmap.mmap) -> Iterator[tuple[int, int]]:
    """Yield where the values of floating-point constants, or the names of their files, lie."""
    for start, end in _messages(data, "TensorProto"):
        if _int_field(data, start, end, _DATA_TYPE) in _FLOATING:
            fields = _byte_fields(data, start, end)
            yield from ((a, b) for number, a, b in fields if number in _VALUE_FIELDS)
            yield from _locations(data, start, end)


def _messages(data: mmap.mmap, wanted: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of every message of a type in a model."""
    pending = [("ModelProto", 0, len(data))]
    while pending:
        message, start, end = pending.pop()
        if message == wanted:
            yield start, end
        children = _CHILDREN.get(message, {})
        pending += [
            (children[number], a, b)
            for number, a, b in _byte_fields(data, start, end)
            if number in children
        ]


def _locations(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield where the names of the files of the tensor at start..end lie."""
    for number, first, last in _byte_fields(data, start, end):
        if number == _EXTERNAL_DATA:
            entry = {key: (a, b) for key, a, b in _byte_fields(data, first, last)}
            if 1 in entry and data[slice(*entry[1])] == b"location":
                yield entry.get(2, (last, last))


def _byte_fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield number, start and end of each length-delimited field of the message at start..end."""
    for number, kind, a, b in _fields(data, start, end):
        if kind == _BYTES:
            yield number, a, b


def _int_field(data: mmap.mmap, start: int, end: int, wanted: int) -> int | None:
    """Return the value of an integer field of the message at start..end; None when absent."""
    values = [
        _varint(data, a)[0]
        for number, kind, a, _ in _fields(data, start, end)
        if number == wanted and kind == _VARINT
    ]
    return values[-1] if values else None


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield number, wire type, start and end of each field's content."""
    at = start
    while at < end:
        tag, at = _varint(data, at)
        if tag > 0xFFFFFFFF:  # other readers cut it to 32 bits and would see another field
            raise ValueError(f"the field tag before byte {at} is beyond 32 bits")
        kind = tag & 7
        first = at
        if kind == _BYTES:
            length, first = _varint(data, at)
            at = first + length
        elif kind == _VARINT:
            _, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"byte {at} starts a field of the unknown wire type {kind}")
        if at > end:
            raise ValueError(f"a field runs past its end at byte {end}")
        yield tag >> 3, kind, first, at


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    """Return the variable-length integer at a position, and the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError(f"byte {at} continues an integer beyond 64 bits")
