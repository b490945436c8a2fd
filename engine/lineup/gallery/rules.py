"""Rules that turn a query's cosines with a support set into one score.

Every rule is the mean of the highest cosines with some reference rows, so it is described by those
rows and by how many of them count:

    mean       the mean over all fingerprints of the support: one row, their mean, not normalised
    prototype  cosine with the mean of the support: one row, their mean, normalised
    max        cosine with the nearest fingerprint of the support
    knn        mean of the cosines with the five nearest
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from lineup.types import AnyArray, Float32Array

Float64Array = npt.NDArray[np.float64]

NEIGHBOURS = 5


class ScoreRule(str, Enum):
    """How the cosines with a support set become one score."""

    MEAN = "mean"
    MAX = "max"
    KNN = "knn"
    PROTOTYPE = "prototype"


@dataclass(frozen=True, slots=True, eq=False)
class SupportReference:
    """What a query is compared with.

    Attributes:
        rows: Shape (R, D), float64.
        nearest: How many of the highest products count, 1 to R.
    """

    rows: Float64Array
    nearest: int

    def scores(self, fingerprints: AnyArray) -> AnyArray:
        """Return the scores of queries.

        Args:
            fingerprints: Shape (Q, D), float32 or float64, rows L2-normalised.

        Returns:
            Shape (Q,), in the precision of `fingerprints`; -1..1.
        """
        return _mean_of_highest(fingerprints @ self.rows.T.astype(fingerprints.dtype), self.nearest)


def reference_from_support(
    support: Float32Array, rule: ScoreRule = ScoreRule.MEAN
) -> SupportReference:
    """Return what queries are compared with.

    Args:
        support: Fingerprints of one source, shape (N, D), N at least 1, rows L2-normalised.
        rule: How cosines become one score.
    """
    rows = support.astype(np.float64)
    if rule is ScoreRule.MAX:
        return SupportReference(rows, 1)
    if rule is ScoreRule.KNN:
        return SupportReference(rows, min(NEIGHBOURS, len(rows)))
    mean = rows.mean(axis=0, keepdims=True)
    return SupportReference(_normalised(mean) if rule is ScoreRule.PROTOTYPE else mean, 1)


def leave_one_out_scores(support: Float32Array, rule: ScoreRule = ScoreRule.MEAN) -> Float64Array:
    """Return each fingerprint's score against the others of its own support.

    Args:
        support: Fingerprints of one source, shape (N, D), rows L2-normalised.
        rule: How cosines become one score.

    Returns:
        Shape (N,); empty for a single row, which has no others.
    """
    count = len(support)
    if count < 2:
        return np.empty(0)
    rows = support.astype(np.float64)
    if rule in (ScoreRule.MAX, ScoreRule.KNN):
        cosines = rows @ rows.T
        np.fill_diagonal(cosines, -np.inf)
        nearest = 1 if rule is ScoreRule.MAX else min(NEIGHBOURS, count - 1)
        return np.asarray(_mean_of_highest(cosines, nearest))
    # sum_j z_i.z_j includes z_i.z_i, which is taken out with the row.
    means = (rows.sum(axis=0) - rows) / (count - 1)
    others = _normalised(means) if rule is ScoreRule.PROTOTYPE else means
    return np.asarray(np.einsum("nd,nd->n", rows, others))


def _mean_of_highest(products: AnyArray, count: int) -> AnyArray:
    """Return the mean of the `count` highest products of each row of (Q, R)."""
    if count < products.shape[1]:
        products = np.partition(products, -count, axis=1)[:, -count:]
    return np.asarray(products.mean(axis=1))


def _normalised(rows: Float64Array) -> Float64Array:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    # Opposite fingerprints cancel; a mean without a direction scores 0.
    normalised: Float64Array = rows / np.maximum(lengths, np.finfo(np.float64).tiny)
    return normalised
