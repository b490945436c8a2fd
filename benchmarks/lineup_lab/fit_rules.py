"""What is read off posteriors of queries that took no part in their fit.

Families: candidates that share a VAE may not be separable. A family is decisive when its members
together are more probable than any other candidate or family, and than none of them. The best
member's share of the family's posterior then says how well it stands out. Calibration queries tell
from which share on the best member is the right one often enough; below it the family is the
answer.

Conformal sets: labels among which the true one is, with a stated probability. Split conformal
prediction (Vovk et al., "Algorithmic Learning in a Random World", 2005; Sadinle et al., "Least
ambiguous set-valued classifiers", 2019): a label belongs to the set when its posterior is not below
a threshold that calibration queries of that label met at the stated rate. Queries of candidates,
unknown ones and photographs have thresholds of their own, so that the coverage holds for each of
the three, however often it comes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import isotonic_regression

from lineup.calibration.calibration import ConformalThresholds, FamilyRule
from lineup.types import Float64Array

MIN_QUERIES = 10
"""Fewer queries of a family leave its rule at the share that a right posterior asks for."""

NEVER = 1.01
"""Above every share: the members are never separable."""


def families_from_names(family_of: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return the families with at least two members.

    Args:
        family_of: Name of the family per candidate; candidates that have none are absent.
    """
    members: dict[str, list[str]] = {}
    for candidate, family in family_of.items():
        members.setdefault(family, []).append(candidate)
    return {family: tuple(names) for family, names in members.items() if len(names) > 1}


def fit_family(
    members: tuple[str, ...],
    candidates: Sequence[str],
    posterior: Float64Array,
    truth: npt.NDArray[np.intp],
    level: float,
) -> FamilyRule:
    """Fit the rule of one family.

    Args:
        members: The family.
        candidates: All candidates, K of them, in the order of the columns.
        posterior: Of queries that it was not fitted on, shape (N, K + 2).
        truth: Their labels, shape (N,).
        level: Accuracy within the family below which its members are reported together.
    """
    columns = np.array([candidates.index(name) for name in members])
    own = posterior[:, columns]
    mass = own.sum(axis=1)
    others = np.delete(posterior[:, : len(candidates)], columns, axis=1)
    none_of_them = posterior[:, len(candidates) :].sum(axis=1)
    decisive = mass > np.maximum(none_of_them, others.max(axis=1, initial=0.0))
    chosen = decisive & np.isin(truth, columns)
    shares = (own.max(axis=1) / np.maximum(mass, np.finfo(np.float64).tiny))[chosen]
    right = columns[own.argmax(axis=1)][chosen] == truth[chosen]
    return FamilyRule(
        members=members,
        share=_separating_share(shares, right, level),
        queries=int(chosen.sum()),
        accuracy=float(right.mean()) if right.size else None,
    )


def _separating_share(shares: Float64Array, right: npt.NDArray[np.bool_], level: float) -> float:
    """Return the smallest share from which on the accuracy reaches the level."""
    if len(shares) < MIN_QUERIES:
        return level  # the share is the probability of being right, if the posterior is
    order = np.argsort(shares, kind="stable")
    accuracy = isotonic_regression(right[order].astype(np.float64))
    enough = np.flatnonzero(accuracy >= level)
    if enough.size < MIN_QUERIES:  # a few at the top are right by luck even when members are alike
        return NEVER
    lowest = float(shares[order][enough[0]])
    # Nothing was seen below the lowest share of all, which is no reason to distrust what is there.
    return min(lowest, level) if enough[0] == 0 else lowest


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
    generated = log_posterior.shape[1] - 2
    return ConformalThresholds(
        candidates=conformal_quantile(own[truth < generated], level),
        generated=conformal_quantile(own[truth == generated], level),
        photograph=conformal_quantile(own[truth == generated + 1], level),
    )


def conformal_quantile(values: Float64Array, level: float) -> float | None:
    """Return the bound that a further value is not below with at least a probability of `level`.

    Of n values it is the ceil((n + 1) * level)-th highest, exact for finite n when all n + 1 are
    exchangeable; None when n is too small for the level.
    """
    rank = math.ceil((len(values) + 1) * level)
    if rank > len(values):
        return None
    return float(np.sort(values)[len(values) - rank])
