"""A classifier as one file: a .safetensors file with `weights`, `bias` and a JSON header.

The header, under the metadata key `lineup_openset`, holds the schema version, the classes, whether
there is a reject class, the fingerprint bundle's digest, what the classifier was fitted on, and a
SHA-256 over both tensors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as tensors_from_bytes
from safetensors.numpy import save as bytes_from_tensors

from lineup import files
from lineup.errors import ClassifierError
from lineup.openset.classifier import OpenSetClassifier, Training
from lineup.types import AnyArray

SCHEMA_VERSION = 1
HEADER_KEY = "lineup_openset"
MAX_BYTES = 1 << 30
"""A thousand classes of 100,000 dimensions stay below; what is larger is not read into memory."""

_LENGTH_BYTES = 8  # safetensors: header length, little-endian, then the header as JSON
_HINT = "Give a file that lineup fit-open-set has written."

Value = TypeVar("Value")


def write_classifier(path: Path, classifier: OpenSetClassifier) -> None:
    """Write a classifier; an old file is replaced in one step.

    Raises:
        ClassifierError: The file cannot be written.
    """
    tensors: dict[str, AnyArray] = {
        "weights": np.ascontiguousarray(classifier.weights),
        "bias": np.ascontiguousarray(classifier.bias),
    }
    training = classifier.training
    header = {
        "schema_version": SCHEMA_VERSION,
        "classes": list(classifier.classes),
        "has_reject": classifier.has_reject,
        "fingerprint": {
            "digest": classifier.fingerprint_digest,
            "dimension": classifier.dimension,
        },
        "training": {
            "counts": dict(training.counts),
            "reject_count": training.reject_count,
            "ridge": training.ridge,
            "provenance": training.provenance,
            "lineup": training.lineup,
        },
        "sha256": _sha256_from_tensors(tensors),
    }
    metadata = {HEADER_KEY: json.dumps(header, ensure_ascii=False)}
    try:
        files.write_atomic(path, bytes_from_tensors(tensors, metadata=metadata))
    except OSError as error:
        raise ClassifierError(
            f"cannot write {path}: {error.strerror or error}",
            hint="Give a file in a folder that can be written to.",
        ) from error


def read_classifier(path: Path, *, fingerprint_digest: str | None = None) -> OpenSetClassifier:
    """Read and check a classifier; nothing in the file is trusted.

    Args:
        path: The file.
        fingerprint_digest: Identity of the bundle in use; the classifier must be made for it.

    Raises:
        ClassifierError: Not a classifier, written by a newer lineup, damaged, or made for another
            fingerprint bundle.
    """
    owner = str(path)
    header, tensors = _contents(path)
    weights, bias = (_tensor(tensors, name, owner) for name in ("weights", "bias"))
    if _field(header, "sha256", str, owner) != _sha256_from_tensors(tensors):
        raise ClassifierError(
            f"{owner} was altered or damaged: its SHA-256 is not the one in the header",
            hint="Copy the file again, or fit it again with lineup fit-open-set.",
        )
    fingerprint = _field(header, "fingerprint", dict, owner)
    digest = _field(fingerprint, "digest", str, f"{owner}: fingerprint")
    classes = _field(header, "classes", list, owner)
    if not all(isinstance(name, str) for name in classes):
        raise ClassifierError(f"{owner}: 'classes' must hold names, got {classes!r:.80}")
    classifier = OpenSetClassifier(
        classes=tuple(classes),
        weights=weights,
        bias=bias,
        fingerprint_digest=digest,
        training=_training(_field(header, "training", dict, owner), owner),
    )
    if classifier.has_reject is not header.get("has_reject"):
        raise ClassifierError(f"{owner}: 'has_reject' does not fit the shape of the weights")
    if fingerprint_digest is not None and digest != fingerprint_digest:
        raise ClassifierError(
            f"{owner} was fitted on the fingerprint {digest[:12]}, expected "
            f"{fingerprint_digest[:12]}",
            hint="Fit it again with lineup fit-open-set, or choose the other bundle with "
            "--fingerprint.",
        )
    return classifier


def _contents(path: Path) -> tuple[dict[str, Any], dict[str, AnyArray]]:
    """Return header and tensors of a file."""
    try:
        if not path.is_file():
            raise ClassifierError(f"{path} is not a file", hint=_HINT)
        if path.stat().st_size > MAX_BYTES:
            raise ClassifierError(f"{path} is larger than any classifier", hint=_HINT)
        data = path.read_bytes()
    except OSError as error:
        raise ClassifierError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        tensors = tensors_from_bytes(data)
        length = int.from_bytes(data[:_LENGTH_BYTES], "little")
        metadata = json.loads(data[_LENGTH_BYTES : _LENGTH_BYTES + length]).get("__metadata__", {})
        header = json.loads(metadata[HEADER_KEY]) if HEADER_KEY in metadata else None
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ClassifierError(f"{path} is not a valid safetensors file: {error}") from error
    if not isinstance(header, dict):
        raise ClassifierError(
            f"{path} is not a classifier: its metadata lacks {HEADER_KEY!r}", hint=_HINT
        )
    version = _field(header, "schema_version", int, str(path))
    if version > SCHEMA_VERSION:
        raise ClassifierError(
            f"{path} has schema version {version}, this lineup reads up to {SCHEMA_VERSION}",
            hint="It was written by a newer lineup: upgrade with pip install --upgrade lineup.",
        )
    return header, tensors


def _training(raw: dict[str, Any], owner: str) -> Training:
    where = f"{owner}: training"
    counts = _field(raw, "counts", dict, where)
    return Training(
        counts={name: _field(counts, name, int, f"{where}: counts") for name in counts},
        reject_count=_field(raw, "reject_count", int, where),
        ridge=_field(raw, "ridge", float, where),
        provenance=_field(raw, "provenance", str, where),
        lineup=_field(raw, "lineup", str, where),
    )


def _tensor(tensors: Mapping[str, AnyArray], name: str, owner: str) -> AnyArray:
    if name not in tensors:
        raise ClassifierError(f"{owner} lacks the tensor {name!r}", hint=_HINT)
    return tensors[name]


def _field(raw: Mapping[str, Any], key: str, kind: type[Value], owner: str) -> Value:
    value = raw.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ClassifierError(
            f"{owner}: {key!r} must be of type {kind.__name__}, got {value!r:.80}"
        )
    return value


def _sha256_from_tensors(tensors: Mapping[str, AnyArray]) -> str:
    digest = hashlib.sha256()
    for name in ("weights", "bias"):
        if name in tensors:
            digest.update(np.ascontiguousarray(tensors[name]).tobytes())
    return digest.hexdigest()
