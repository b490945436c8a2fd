"""A linear classifier over fingerprints that can say "none of them", and its file.

Over T known classes and, where it was fitted with one, a reject class for everything else. The
file is a .safetensors file with `weights` and `bias`, its header under the key `lineup_openset`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lineup.documents import DocumentFormat
from lineup.errors import ClassifierError
from lineup.gallery.gallery import check_fingerprint_digest
from lineup.results import UNKNOWN
from lineup.tensor_files import TensorFileFormat
from lineup.text import short_digest
from lineup.types import AnyArray, Float32Array, Float64Array

MIN_CLASSES = 2


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
        is_matrix = weights.ndim == 2 and len(weights) in (known, known + 1) and weights.size > 0
        if weights.dtype != np.float32 or not is_matrix:
            raise ClassifierError(
                f"{known} classes need float32 weights of the shape ({known} or {known + 1}, "
                f"dimension), got {weights.dtype} {weights.shape}"
            )
        if bias.dtype != np.float32 or bias.shape != weights.shape[:1]:
            raise ClassifierError(
                f"expected a float32 bias of the shape {weights.shape[:1]}, "
                f"got {bias.dtype} {bias.shape}"
            )
        if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
            raise ClassifierError("the weights of the classifier are not finite")

    @property
    def has_reject(self) -> bool:
        """Whether there is a class for everything else."""
        return len(self.weights) > len(self.classes)

    def probabilities(self, fingerprints: Float32Array) -> Float64Array:
        """Return the probability of every class.

        Args:
            fingerprints: Shape (N, D), float32, rows L2-normalised.

        Returns:
            Shape (N, T or T + 1), rows sum to 1: `classes`, then the reject class if there is one.

        Raises:
            ClassifierError: The fingerprints have another dimension.
        """
        dimension = self.weights.shape[1]
        if fingerprints.ndim != 2 or fingerprints.shape[1] != dimension:
            raise ClassifierError(
                f"the classifier takes fingerprints of the shape (N, {dimension}), "
                f"got {fingerprints.shape}",
                hint="Use it with the fingerprint bundle that it was fitted with.",
            )
        # Double precision: where single precision rounds to 1, images would tie. In one layout,
        # on which the rounding of products depends.
        weights = self.weights.astype(np.float64, order="C")
        logits = fingerprints.astype(np.float64) @ weights.T + self.bias
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))

    def check_fingerprint(self, digest: str) -> None:
        """Check that it was fitted on the fingerprints of a bundle.

        Raises:
            ClassifierError: It was fitted on others.
        """
        if digest != self.fingerprint_digest:
            raise ClassifierError(
                "The classifier was fitted on the fingerprint "
                f"{short_digest(self.fingerprint_digest)}, expected {short_digest(digest)}.",
                hint="Fit it again with lineup fit-open-set, or choose the other bundle with "
                "--fingerprint.",
            )


def check_classes(classes: tuple[str, ...]) -> None:
    """Raise `ClassifierError` for fewer than two classes, or names that cannot be a class's."""
    if len(classes) < MIN_CLASSES or len(set(classes)) != len(classes):
        raise ClassifierError(
            f"a classifier needs at least {MIN_CLASSES} different classes, got {list(classes)}"
        )
    for name in classes:
        if not name or not name.isprintable() or name == UNKNOWN:
            raise ClassifierError(f"{name!r} cannot name a known class")


@dataclass(frozen=True, slots=True)
class _FittedOn:
    digest: str
    dimension: int


@dataclass(frozen=True, slots=True)
class _Header:
    """What a classifier's file holds beside its tensors; `sha256` is over both of them."""

    classes: tuple[str, ...]
    has_reject: bool
    fingerprint: _FittedOn
    training: Training
    sha256: str


CLASSIFIER_FILE = TensorFileFormat(
    "a classifier",
    DocumentFormat(_Header, ClassifierError, "Give a file that lineup fit-open-set has written."),
    "lineup_openset",
)


def write_classifier(path: Path, classifier: OpenSetClassifier) -> None:
    """Write a classifier, whole or not at all; raises `ClassifierError` when it cannot be."""
    # safetensors writes memory as it lies.
    tensors = {"weights": np.ascontiguousarray(classifier.weights), "bias": classifier.bias}
    header = _Header(
        classes=classifier.classes,
        has_reject=classifier.has_reject,
        fingerprint=_FittedOn(classifier.fingerprint_digest, classifier.weights.shape[1]),
        training=classifier.training,
        sha256=_sha256_from_tensors(tensors),
    )
    CLASSIFIER_FILE.write(path, header, tensors)


def read_classifier(path: Path) -> OpenSetClassifier:
    """Read and check a classifier; nothing in the file is trusted.

    Raises:
        ClassifierError: Not a classifier, written by a newer lineup, or damaged.
    """
    header, tensors = CLASSIFIER_FILE.read(path)
    for name in {"weights", "bias"} - set(tensors):
        raise ClassifierError(f"{path} lacks the tensor {name!r}", hint=CLASSIFIER_FILE.header.hint)
    if header.sha256 != _sha256_from_tensors(tensors):
        raise ClassifierError(
            f"{path} was altered or damaged: its SHA-256 is not the one in the header",
            hint="Copy the file again, or fit it again with lineup fit-open-set.",
        )
    digest = header.fingerprint.digest
    classifier = OpenSetClassifier(
        header.classes, tensors["weights"], tensors["bias"], digest, header.training
    )
    if classifier.has_reject is not header.has_reject:
        raise ClassifierError(f"{path}: 'has_reject' does not fit the shape of the weights")
    return classifier


def _sha256_from_tensors(tensors: Mapping[str, AnyArray]) -> str:
    return hashlib.sha256(tensors["weights"].tobytes() + tensors["bias"].tobytes()).hexdigest()
