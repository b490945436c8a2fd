"""Rules that turn a query's cosines with a support set into one score.

mean       the mean over all fingerprints of the support; what the engine does
prototype  cosine with the mean of the support
max        cosine with the nearest fingerprint of the support
knn        mean of the cosines with the five nearest
"""

from __future__ import annotations

from enum import Enum

import numpy as np

from lineup.types import Float32Array, Float64Array

NEIGHBOURS = 5


class ScoreRule(str, Enum):
    """How the cosines with a support set become one score."""

    MEAN = "mean"
    MAX = "max"
    KNN = "knn"
    PROTOTYPE = "prototype"


def scores_from_support(
    queries: Float64Array, support: Float32Array, rule: ScoreRule
) -> Float64Array:
    """Return one score per query, shape (Q,), -1..1.

    Args:
        queries: Shape (Q, D), float64, rows L2-normalised.
        support: Fingerprints of one source, shape (N, D), N at least 1, rows L2-normalised.
        rule: How cosines become one score.
    """
    rows = support.astype(np.float64)
    if rule in (ScoreRule.MEAN, ScoreRule.PROTOTYPE):
        mean = rows.mean(axis=0)
        # Opposite fingerprints cancel; a mean without a direction scores 0.
        length = np.linalg.norm(mean) if rule is ScoreRule.PROTOTYPE else 1.0
        return np.asarray(queries @ mean / max(length, np.finfo(np.float64).tiny))
    nearest = min(1 if rule is ScoreRule.MAX else NEIGHBOURS, len(rows))
    cosines = np.partition(queries @ rows.T, -nearest, axis=1)
    return np.asarray(cosines[:, -nearest:].mean(axis=1))
