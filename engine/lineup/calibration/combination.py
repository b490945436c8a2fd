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
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from lineup.calibration.logit import Choices, Ridge, fit_choices, log_probabilities
from lineup.calibration.table import EvidenceKind, ScoreTable, label_weights
from lineup.fusion import prior_from_candidates

Float64Array = npt.NDArray[np.float64]

WEIGHT_RIDGE = 4.0
BIAS_RIDGE = 1.0
"""Pull of weights to an equal share of 1 (evidences that say the same) and of biases to 0, in
queries."""

EvidenceSet = frozenset[str]


@dataclass(frozen=True, slots=True)
class Combination:
    """How the ratios of one set of evidences become one.

    Attributes:
        weights: Weight per evidence, 0 or above.
        bias: Added for every candidate.
        real_bias: Added for `REAL`.
    """

    weights: Mapping[str, float]
    bias: float
    real_bias: float


Ratios = Mapping[str, Float64Array]
"""Per evidence, log likelihood ratios of shape (N, K), or (N, 1) for `REAL`; NaN is absent."""


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


def fused_ratios(
    kinds: Mapping[str, EvidenceKind],
    ratios: Ratios,
    combinations_by_set: Mapping[EvidenceSet, Combination],
    candidates: int,
) -> Float64Array:
    """Weigh and add log likelihood ratios.

    Args:
        kinds: What each evidence speaks of.
        ratios: Of the evidences that take part.
        combinations_by_set: What was fitted.
        candidates: Their number, K.

    Returns:
        Shape (N, K + 2): candidates, unknown, real; 0 where nothing speaks.
    """
    rows = len(next(iter(ratios.values())))
    fused = np.zeros((rows, candidates + 2))
    for chosen, combination in combinations_by_set.items():
        if not chosen <= set(ratios):
            continue
        applies = _applies(chosen, ratios, kinds, candidates)
        for name in chosen:
            weighted = combination.weights[name] * np.nan_to_num(ratios[name])
            columns = _columns(kinds[name], candidates)
            fused[:, columns] += np.where(applies[:, columns], weighted, 0.0)
        bias = np.zeros(candidates + 2)
        bias[:candidates], bias[-1] = combination.bias, combination.real_bias
        fused += np.where(applies, bias, 0.0)
    return fused


def log_posterior(fused: Float64Array, candidates: Sequence[str]) -> Float64Array:
    """Return log probabilities of candidates, unknown, real; shape of `fused`."""
    return log_probabilities(
        np.zeros((*fused.shape, 0)), fused + _log_prior(candidates), np.zeros(0)
    )


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
    applies = _applies(chosen, ratios, table.kinds, candidates)
    design = np.zeros((len(table), candidates + 2, 2 + len(names)))
    design[:, :candidates, 0] = applies[:, :candidates]
    design[:, -1, 1] = applies[:, -1]
    for index, name in enumerate(names):
        columns = _columns(table.kinds[name], candidates)
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


def _applies(
    chosen: EvidenceSet,
    ratios: Ratios,
    kinds: Mapping[str, EvidenceKind],
    candidates: int,
) -> npt.NDArray[np.bool_]:
    """Return where a set is exactly what a label has evidence of, shape (N, K + 2).

    Candidates are judged with the evidences on candidates that they have, photographs with those
    on photographs; a set of both kinds is at hand for either when all of the other kind are.
    """
    rows = len(next(iter(ratios.values())))
    own = np.ones((rows, candidates + 2), bool)
    own[:, candidates] = False
    speaks = np.zeros((rows, candidates + 2), bool)
    for name, values in ratios.items():
        present: npt.NDArray[np.bool_] = ~np.isnan(values)
        columns = _columns(kinds[name], candidates)
        own[:, columns] &= present if name in chosen else ~present
        if name in chosen:
            speaks[:, columns] = True
        other = np.setdiff1d(np.arange(candidates + 2), columns)
        anywhere = np.any(present, axis=1, keepdims=True)
        own[:, other] &= anywhere if name in chosen else ~anywhere
    applied: npt.NDArray[np.bool_] = own & speaks
    return applied


def _columns(kind: EvidenceKind, candidates: int) -> npt.NDArray[np.intp]:
    if kind is EvidenceKind.REAL:
        return np.array([candidates + 1])
    return np.arange(candidates)


def _log_prior(candidates: Sequence[str]) -> Float64Array:
    prior = prior_from_candidates(candidates)
    logs: Float64Array = np.log(np.array(list(prior.values())))
    return logs
