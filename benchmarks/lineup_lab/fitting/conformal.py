"""Conformal sets: labels among which the true one is, with a stated probability.

Split conformal prediction (Vovk et al., "Algorithmic Learning in a Random World", 2005; Sadinle et
al., "Least ambiguous set-valued classifiers", 2019): a label belongs to the set when its posterior
is not below a threshold that calibration queries of that label met at the stated rate. Queries of
candidates, unknown ones and photographs have thresholds of their own, so that the coverage holds
for each of the three, however often it comes. The queries must not have taken part in the fit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lineup.calibration.calibration import ConformalThresholds

Float64Array = npt.NDArray[np.float64]


def fit_thresholds(
    log_posterior: Float64Array, truth: npt.NDArray[np.intp], level: float
) -> ConformalThresholds:
    """Return thresholds that the true label meets with at least a probability of `level`.

    Args:
        log_posterior: Of queries that the posterior was not fitted on, shape (N, K + 2).
        truth: Their labels, shape (N,).
        level: 0..1 exclusive.
    """
    own = log_posterior[np.arange(len(truth)), truth]
    unknown = log_posterior.shape[1] - 2
    return ConformalThresholds(
        candidates=conformal_quantile(own[truth < unknown], level),
        unknown=conformal_quantile(own[truth == unknown], level),
        real=conformal_quantile(own[truth == unknown + 1], level),
    )


def conformal_quantile(values: Float64Array, level: float) -> float:
    """Return the bound that a further value is not below with at least a probability of `level`.

    Of n values it is the ceil((n + 1) * level)-th highest, exact for finite n when all n + 1 are
    exchangeable; -inf when n is too small for the level.
    """
    rank = math.ceil((len(values) + 1) * level)
    if rank > len(values):
        return -math.inf
    return float(np.sort(values)[len(values) - rank])


def coverage(
    log_posteriors: Float64Array,
    truth: npt.NDArray[np.intp],
    thresholds: ConformalThresholds,
    labels: Sequence[str],
) -> float:
    """Return the share of queries whose true label meets its threshold, 0..1."""
    bounds = np.array([thresholds.of(label) for label in labels])
    own = log_posteriors[np.arange(len(truth)), truth]
    return float(np.mean(own >= bounds[truth]))
