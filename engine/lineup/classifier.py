"""A linear classifier over fingerprints that can say "none of them", and its file.

Over T known classes and, where it was fitted with one, a reject class for everything else. An
image is as known as its most probable known class is probable: what the reject class takes is
missing from all the others.

The file is a .safetensors file with `weights`, `bias` and a JSON header. The header, under the
metadata key `lineup_openset`, holds the schema version, the classes, whether there is a reject
class, the fingerprint bundle's digest, what the classifier was fitted on, and a SHA-256 over both
tensors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as tensors_from_bytes
from safetensors.numpy import save as bytes_from_tensors

from lineup import files
from lineup.errors import ClassifierError
from lineup.gallery.gallery import check_fingerprint_digest
from lineup.results import UNKNOWN
from lineup.types import AnyArray, Float32Array, Float64Array

MIN_CLASSES = 2
SCHEMA_VERSION = 1
HEADER_KEY = "lineup_openset"
MAX_BYTES = 1 << 30
"""A thousand classes of 100,000 dimensions stay below; what is larger is not read into memory."""

_LENGTH_BYTES = 8  # safetensors: header length, little-endian, then the header as JSON
_HINT = "Give a file that lineup fit-open-set has written."

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Training:
    """What a classifier was fitted on.

    Attributes:
        counts: Fingerprints per known class.
        reject_count: Fingerprints of the reject class; 0 without one.
        ridge: Penalty on the squared weights.
        provenance: Where the images came from, for people.
        lineup: Version that fitted it.
    """

    counts: Mapping[str, int]
    reject_count: int
    ridge: float
    provenance: str = ""
    lineup: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class OpenSetClassifier:
    """A linear classifier over fingerprints of one bundle.

    Attributes:
        classes: The known classes, at least two.
        weights: Shape (T or T + 1, D), float32; the row after the known classes, if there is one,
            is the reject class.
        bias: Shape (T or T + 1,), float32.
        fingerprint_digest: Identity of the bundle that made the fingerprints.
        training: What it was fitted on.

    Raises:
        ClassifierError: Shapes, types or values do not fit together.
    """

    classes: tuple[str, ...]
    weights: Float32Array
    bias: Float32Array
    fingerprint_digest: str
    training: Training = field(compare=False)

    def __post_init__(self) -> None:
        check_classes(self.classes)
        check_fingerprint_digest(self.fingerprint_digest)
        known, weights, bias = len(self.classes), self.weights, self.bias
        if (
            weights.dtype != np.float32
            or weights.ndim != 2
            or len(weights) not in (known, known + 1)
            or weights.shape[1] < 1
        ):
            raise ClassifierError(
                f"{known} classes need float32 weights of the shape ({known} or {known + 1}, "
                f"dimension), got {weights.dtype} {weights.shape}"
            )
        if bias.dtype != np.float32 or bias.shape != (len(weights),):
            raise ClassifierError(
                f"expected a float32 bias of the shape ({len(weights)},), "
                f"got {bias.dtype} {bias.shape}"
            )
        if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
            raise ClassifierError("the weights of the classifier are not finite")

    @property
    def has_reject(self) -> bool:
        """Whether there is a class for everything else."""
        return len(self.weights) > len(self.classes)

    @property
    def dimension(self) -> int:
        """Length of the fingerprints that it takes."""
        return int(self.weights.shape[1])

    def probabilities(self, fingerprints: Float32Array) -> Float64Array:
        """Return the probability of every class.

        Args:
            fingerprints: Shape (N, D), float32, rows L2-normalised.

        Returns:
            Shape (N, T) or, with a reject class, (N, T + 1); rows sum to 1. The columns are
            `classes`, then the reject class.

        Raises:
            ClassifierError: The fingerprints have another dimension.
        """
        if fingerprints.ndim != 2 or fingerprints.shape[1] != self.dimension:
            raise ClassifierError(
                f"the classifier takes fingerprints of the shape (N, {self.dimension}), "
                f"got {fingerprints.shape}",
                hint="Use it with the fingerprint bundle that it was fitted with.",
            )
        # Double precision: where single precision rounds to 1, images would tie.
        wide = fingerprints.astype(np.float64)
        return np.exp(log_softmax(wide @ self.weights.T.astype(np.float64) + self.bias))

    def known_probabilities(self, fingerprints: Float32Array) -> Float64Array:
        """Return the probability of every known class, shape (N, T); see `probabilities`."""
        return self.probabilities(fingerprints)[:, : len(self.classes)]


def check_classes(classes: tuple[str, ...]) -> None:
    """Check the names of the known classes.

    Raises:
        ClassifierError: Fewer than two, one twice, one that is empty or called "unknown".
    """
    if len(classes) < MIN_CLASSES or len(set(classes)) != len(classes):
        raise ClassifierError(
            f"a classifier needs at least {MIN_CLASSES} different classes, got {list(classes)}"
        )
    for name in classes:
        if not name or not name.isprintable() or name == UNKNOWN:
            raise ClassifierError(f"{name!r} cannot name a known class")


def log_softmax(logits: Float64Array) -> Float64Array:
    """Return the logarithm of the softmax over the last axis, without overflow."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    logs: Float64Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return logs


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
