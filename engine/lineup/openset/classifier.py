"""Closed-set and (T+1)-way classification of fingerprints, fitted in seconds.

A multinomial logistic regression over T known classes and, where reject fingerprints are given, one
more class for everything else. An image is as known as its most probable known class is probable:
with a reject class, what that class takes is missing from all the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lineup.errors import ClassifierError
from lineup.gallery.gallery import check_fingerprint_digest, check_fingerprints
from lineup.openset.regression import Float64Array, fit_logistic, log_softmax
from lineup.results import UNKNOWN
from lineup.types import Float32Array

RIDGE = 0.003
"""Penalty on the squared weights. Fingerprints have length 1, so one value serves all of them."""

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


def classifier_from_fingerprints(
    known: Mapping[str, Float32Array],
    *,
    fingerprint_digest: str,
    reject: Float32Array | None = None,
    ridge: float = RIDGE,
    provenance: str = "",
    version: str = "",
) -> OpenSetClassifier:
    """Fit a classifier.

    Args:
        known: Fingerprints per class, shape (N, D), float32, rows L2-normalised.
        fingerprint_digest: Identity of the bundle that made them.
        reject: Fingerprints of what is none of the classes, shape (R, D).
        ridge: Penalty on the squared weights, above 0.
        provenance: Where the images came from, for people.
        version: Version of lineup, kept with the classifier.

    Raises:
        ClassifierError: Too few classes, an impossible name, or dimensions differ.
        GalleryError: Fingerprints are malformed.
    """
    check_classes(tuple(known))
    sets = [*known.values(), *([] if reject is None else [reject])]
    for name, rows in zip([*known, "reject"], sets, strict=False):
        check_fingerprints(rows, f"class {name!r}")
    if len({rows.shape[1] for rows in sets}) > 1:
        raise ClassifierError(
            "the fingerprints to fit on have different dimensions: "
            f"{sorted({rows.shape[1] for rows in sets})}",
            hint="Make all of them with the same fingerprint bundle.",
        )
    labels = np.repeat(np.arange(len(sets)), [len(rows) for rows in sets])
    wide = np.concatenate(sets).astype(np.float64)  # (N, D)
    fit = fit_logistic(wide, labels, len(sets), ridge=ridge)
    return OpenSetClassifier(
        classes=tuple(known),
        weights=fit.weights.astype(np.float32),
        bias=fit.bias.astype(np.float32),
        fingerprint_digest=fingerprint_digest,
        training=Training(
            counts={name: len(rows) for name, rows in known.items()},
            reject_count=0 if reject is None else len(reject),
            ridge=ridge,
            provenance=provenance,
            lineup=version,
        ),
    )
