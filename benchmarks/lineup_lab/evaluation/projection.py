"""Fingerprints on a plane, for a map that a person can look at."""

from __future__ import annotations

from enum import Enum

import numpy as np
import numpy.typing as npt

from lineup.errors import UsageError
from lineup.extras import require_extra
from lineup.types import Float32Array

Float64Array = npt.NDArray[np.float64]

SHRINKAGE = 0.1
"""Share of the mean variance added to every direction of LDA's within-class scatter."""

LDA_AXES = 50
"""Principal axes that LDA works in: more of them than images would separate anything."""


class Projection(str, Enum):
    """How fingerprints are laid on a plane."""

    PCA = "pca"
    """The two directions of most variance; knows nothing of the sources."""

    LDA = "lda"
    """The two directions that separate the sources best; flatters, for it knows them."""

    TSNE = "tsne"
    """Neighbours stay neighbours, distances mean little; knows nothing of the sources."""


def points_from_fingerprints(
    fingerprints: Float32Array, labels: npt.NDArray[np.intp], projection: Projection, *, seed: int
) -> tuple[Float64Array, tuple[str, str]]:
    """Lay fingerprints on a plane.

    Args:
        fingerprints: Shape (N, D), float32, rows L2-normalised.
        labels: Source of each row, shape (N,).
        projection: How.
        seed: Seed of t-SNE.

    Returns:
        Points, shape (N, 2), and what the two axes show.

    Raises:
        UsageError: Too few images or sources for this projection.
        MissingExtraError: t-SNE needs scikit-learn.
    """
    rows = fingerprints.astype(np.float64)
    if len(rows) < 3:
        raise UsageError(f"A map needs at least 3 images, got {len(rows)}.")
    if projection is Projection.LDA:
        return _lda(rows, labels)
    if projection is Projection.TSNE:
        return _tsne(rows, seed), ("t-SNE 1", "t-SNE 2")
    scores, variances = principal_scores(rows, 2)
    shares = 100 * np.square(scores).sum(axis=0) / variances.sum()
    return scores, (
        f"first principal axis ({shares[0]:.1f} % of variance)",
        f"second principal axis ({shares[1]:.1f} % of variance)",
    )


def principal_scores(rows: Float64Array, axes: int) -> tuple[Float64Array, Float64Array]:
    """Return the coordinates along the principal axes, and the squared extent of all axes.

    Args:
        rows: Shape (N, D).
        axes: How many axes, at most N.

    Returns:
        Scores, shape (N, axes), and sums of squares along every axis, shape (N,), descending. The
        sign of an axis is such that its largest score is positive.
    """
    centred = rows - rows.mean(axis=0)
    # From the products between images, of which there are fewer than dimensions.
    values, vectors = np.linalg.eigh(centred @ centred.T)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    scores = vectors[:, :axes] * np.sqrt(values[:axes])
    largest = scores[np.abs(scores).argmax(axis=0), np.arange(scores.shape[1])]
    return scores * np.where(largest < 0, -1.0, 1.0), values


def _lda(rows: Float64Array, labels: npt.NDArray[np.intp]) -> tuple[Float64Array, tuple[str, str]]:
    """Return the coordinates along the two most separating directions."""
    sources = np.unique(labels)
    if len(sources) < 3:
        raise UsageError(
            f"LDA lays {len(sources)} sources on a line, not on a plane.",
            hint="Choose --projection pca, or add sources.",
        )
    scores, _ = principal_scores(rows, min(LDA_AXES, len(rows) // 2))
    means = np.stack([scores[labels == source].mean(axis=0) for source in sources])
    inner = scores - means[np.searchsorted(sources, labels)]
    within = inner.T @ inner / len(rows)
    within += SHRINKAGE * np.trace(within) / len(within) * np.eye(len(within))
    # Whitened by the within-class scatter, the class means' principal axes are LDA's directions.
    values, vectors = np.linalg.eigh(within)
    whitening = vectors / np.sqrt(values)
    _, _, directions = np.linalg.svd((means - means.mean(axis=0)) @ whitening)
    return scores @ whitening @ directions[:2].T, ("discriminant 1", "discriminant 2")


def _tsne(rows: Float64Array, seed: int) -> Float64Array:
    require_extra("train", ["sklearn"])
    from sklearn.manifold import TSNE  # noqa: PLC0415 - optional and slow to load

    perplexity = min(30.0, (len(rows) - 1) / 3)
    # In principal coordinates, which keep every distance between images.
    scores, _ = principal_scores(rows, len(rows))
    points = TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(scores)
    return np.asarray(points, np.float64)
