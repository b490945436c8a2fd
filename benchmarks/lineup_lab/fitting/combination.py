"""Several evidences: one weight each, and a bias, fitted per set of evidences at hand.

Sums of log likelihood ratios are right only for independent evidences; what two of them share is
counted twice. So the sum is weighted:

    fused(c) = bias + sum over evidences e of weight(e) * llr(e, c)       for a candidate c
    fused(real) = real bias + sum over e of weight(e) * llr(e, real)      for evidence on them
    fused(unknown) = 0

and the posterior is the softmax of fused + log prior. Every set of evidences has weights of its
own, so that evidence that is missing is left out, and not taken for a ratio of 0 that the weights
of the others allow for. Where only some candidates lack an evidence, each candidate is judged with
the weights of the set that it has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
from scipy.special import log_softmax

from lineup.calibration.calibration import Combination, EvidenceSet
from lineup.calibration.verdict import Ratios, fused_ratios, label_columns, set_mask
from lineup.fusion import prior_from_candidates
from lineup.types import Float64Array
from lineup_lab.fitting.logit import Choices, Ridge, fit_choices
from lineup_lab.fitting.table import ScoreTable, label_weights

WEIGHT_RIDGE = 4.0
BIAS_RIDGE = 1.0
"""Pull of weights to an equal share of 1 (evidences that say the same) and of biases to 0, in
queries."""


def sets_of_evidences(names: Sequence[str]) -> Iterator[EvidenceSet]:
    """Yield every non-empty set of evidences, smaller ones first."""
    for size in range(1, len(names) + 1):
        for chosen in combinations(sorted(names), size):
            yield frozenset(chosen)


def fit_combinations(table: ScoreTable, ratios: Ratios) -> dict[EvidenceSet, Combination]:
    """Fit the weights of every set of evidences that occurs together.

    Args:
        table: The queries.
        ratios: Their log likelihood ratios, made by calibrations that did not see them.
    """
    fitted: dict[EvidenceSet, Combination] = {}
    for chosen in sets_of_evidences(tuple(ratios)):
        at_hand = [~np.isnan(ratios[name]).all(axis=1) for name in sorted(chosen)]
        rows = np.flatnonzero(np.logical_and.reduce(at_hand))
        if rows.size:
            part = {name: ratios[name][rows] for name in chosen}
            fitted[chosen] = _fit(table.rows(rows), part, chosen, fitted)
    return fitted


def log_posterior(fused: Float64Array, candidates: Sequence[str]) -> Float64Array:
    """Return log probabilities of candidates, unknown, real; shape of `fused`."""
    logs: Float64Array = log_softmax(fused + _log_prior(candidates), axis=1)
    return logs


def _fit(
    table: ScoreTable,
    ratios: Ratios,
    chosen: EvidenceSet,
    smaller: Mapping[EvidenceSet, Combination],
) -> Combination:
    """Fit one set; candidates that lack a part of it are held at what their own set says."""
    candidates = len(table.candidates)
    names = sorted(chosen)
    held = fused_ratios(table.kinds, ratios, smaller, candidates)
    applies = set_mask(chosen, ratios, table.kinds, candidates)
    design = np.zeros((len(table), candidates + 2, 2 + len(names)))
    design[:, :candidates, 0] = applies[:, :candidates]
    design[:, -1, 1] = applies[:, -1]
    for index, name in enumerate(names):
        columns = label_columns(table.kinds[name], candidates)
        spoken = np.where(applies[:, columns], np.nan_to_num(ratios[name]), 0.0)
        design[:, columns, 2 + index] = spoken
    speaking = [sum(table.kinds[other] is table.kinds[name] for other in names) for name in names]
    parameters = fit_choices(
        Choices(design, held + _log_prior(table.candidates), table.truth, label_weights(table)),
        Ridge(
            centre=np.array([0.0, 0.0, *(1 / count for count in speaking)]),
            strength=np.array([BIAS_RIDGE, BIAS_RIDGE, *[WEIGHT_RIDGE] * len(names)]),
            nonnegative=np.array([False, False, *[True] * len(names)]),
        ),
    )
    return Combination(
        weights=dict(zip(names, parameters[2:].tolist(), strict=True)),
        bias=float(parameters[0]),
        real_bias=float(parameters[1]),
    )


def _log_prior(candidates: Sequence[str]) -> Float64Array:
    prior = prior_from_candidates(candidates)
    logs: Float64Array = np.log(np.array(list(prior.values())))
    return logs
