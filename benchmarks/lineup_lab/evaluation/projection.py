"""Fingerprints on a plane, for a map that a person can look at."""

from __future__ import annotations

from enum import Enum

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.manifold import TSNE

from lineup.errors import UsageError
from lineup.types import Float32Array, Float64Array

SHRINKAGE = 0.1
"""How far LDA's within-class covariance is drawn to a multiple of the identity."""

LDA_AXES = 50
"""Principal axes that LDA works in: more of them than images would separate anything."""

PERPLEXITY = 30.0


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
    """
    rows = fingerprints.astype(np.float64)
    sources = len(np.unique(labels))
    if len(rows) < 3:
        raise UsageError(f"A map needs at least 3 images, got {len(rows)}.")
    if projection is Projection.LDA and sources < 3:
        raise UsageError(
            f"LDA lays {sources} sources on a line, not on a plane.",
            hint="Choose --projection pca, or add sources.",
        )
    if projection is Projection.TSNE:
        perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
        points = TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(rows)
        return np.asarray(points, np.float64), ("t-SNE 1", "t-SNE 2")
    axes = 2 if projection is Projection.PCA else min(LDA_AXES, len(rows) // 2, rows.shape[1])
    pca = PCA(axes, svd_solver="full")
    scores = np.asarray(pca.fit_transform(rows))
    if projection is Projection.LDA:
        lda = LinearDiscriminantAnalysis(solver="eigen", shrinkage=SHRINKAGE, n_components=2)
        scores = np.asarray(lda.fit_transform(scores, labels))
        return scores, ("discriminant 1", "discriminant 2")
    first, second = (f"{100 * share:.1f} % of variance" for share in pca.explained_variance_ratio_)
    return scores, (f"first principal axis ({first})", f"second principal axis ({second})")
