"""From raw scores to log likelihood ratios, by logistic regression, and from several to one.

A score says little by itself: how close resyntheses come depends on what the image shows. So the
scores of one query are compared with each other. After standardising (location and scale of
images that the candidate did not make), three numbers describe how candidate c stands:

    level        its own score
    above_mean   minus the mean over the other candidates
    above_best   minus the best of the other candidates

Their weights are never negative, so the ratio rises with the candidate's score. "Made by c" weighs
as much as "made by anything else", in which the other candidates, unknown generators and
photographs weigh as their prior; the fitted log odds are therefore a log likelihood ratio.

Both fits are conditional logits with a ridge, which makes the loss strictly convex: a query chooses
one of its labels with probability softmax(offsets + design @ parameters).

Sums of log likelihood ratios are right only for independent evidences; what two of them share is
counted twice. So the sum is weighted, with a bias, per set of evidences at hand:

    fused(c) = bias + sum over evidences e of weight(e) * llr(e, c)       for a candidate c
    fused(real) = real bias + sum over e of weight(e) * llr(e, real)      for evidence on them
    fused(unknown) = 0

and the posterior is the softmax of fused + log prior. Missing evidence is thus left out, and not
taken for a ratio of 0. Where only some candidates lack an evidence, each candidate is judged with
the weights of the set that it has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.optimize import Bounds, minimize
from scipy.special import log_softmax

from lineup.calibration.calibration import (
    FEATURES,
    Combination,
    EvidenceCalibration,
    EvidenceKind,
    EvidenceSet,
    Sharing,
    Spread,
    features_from_scores,
)
from lineup.calibration.verdict import Ratios, fused_ratios, label_columns, set_mask
from lineup.errors import CalibrationError
from lineup.fusion import prior_from_candidates
from lineup.types import Float64Array
from lineup_lab.table import ScoreTable, label_weights

RIDGE = 0.5
"""Pull of every coefficient to 0, in queries: with few of them a calibration claims little."""

SCALE_PRIOR = 5.0
"""How many queries the shared location and scale count for in a candidate's own."""

SMALLEST_SCALE = 1e-6
"""Standard deviation of scores that do not differ, relative to their location."""

WEIGHT_RIDGE = 4.0
BIAS_RIDGE = 1.0
"""Pull of weights to an equal share of 1 (evidences that say the same) and of biases to 0, in
queries."""

MAX_STEPS = 1000
LOSS_TOLERANCE = 1e-15
GRADIENT_TOLERANCE = 1e-9
"""Tight, so that a fit does not depend on where it started from."""


def fit_evidence(table: ScoreTable, name: str, sharing: Sharing) -> EvidenceCalibration:
    """Fit one evidence.

    Raises:
        CalibrationError: No query of a candidate (or, for `PHOTOGRAPH`, no photograph) has a
            score, or no other query has.
    """
    kind = table.kinds[name]
    shared, spreads = _spreads(table, name, sharing)
    scored = table.present(name).any(axis=1)
    blank = EvidenceCalibration(
        kind=kind,
        sharing=sharing,
        shared=shared,
        spreads=spreads,
        coefficients=dict.fromkeys(FEATURES[kind], 0.0),
        intercept=0.0,
        limit=float(np.log(2 + scored.sum())),
        counts=table.rows(np.flatnonzero(scored)).counts,
    )
    values, positive, pair_weights = _pairs(table, name, blank)
    if not (positive.any() and (~positive).any()):
        lacking = "made by none of the candidates" if positive.any() else "made by a candidate"
        if kind is EvidenceKind.PHOTOGRAPH:
            lacking = "that is generated" if positive.any() else "that is a photograph"
        raise CalibrationError(
            f"The evidence {name!r} cannot be calibrated: no query with a score is one {lacking}.",
            hint="Add such images to the calibration folder.",
        )
    parameters = _fitted(values, positive, pair_weights)
    return replace(
        blank,
        coefficients=dict(zip(FEATURES[kind], parameters[1:].tolist(), strict=True)),
        intercept=float(parameters[0]),
    )


def pair_loss(calibration: EvidenceCalibration, table: ScoreTable, name: str) -> float:
    """Return the mean log loss of "made by it" at even odds over a table, in nats; NaN if empty."""
    _, positive, weights = _pairs(table, name, calibration)
    ratios = calibration.llrs(table.scores[name], keys_of(table, calibration.kind))
    logits = ratios[_usable(table, name)]
    if not logits.size:
        return float("nan")
    losses = np.logaddexp(0, logits) - positive * logits
    return float(weights @ losses / weights.sum())


def keys_of(table: ScoreTable, kind: EvidenceKind) -> tuple[str, ...]:
    """Return the keys of an evidence's columns."""
    return table.candidates if kind is EvidenceKind.CANDIDATES else table.labels[-1:]


def sets_of_evidences(names: Sequence[str]) -> Iterator[EvidenceSet]:
    """Yield every non-empty set of evidences, smaller ones first."""
    for size in range(1, len(names) + 1):
        for chosen in combinations(sorted(names), size):
            yield frozenset(chosen)


def fit_combinations(table: ScoreTable, ratios: Ratios) -> dict[EvidenceSet, Combination]:
    """Fit the weights of every set of evidences that occurs together.

    `ratios` come from calibrations that did not see the queries.
    """
    fitted: dict[EvidenceSet, Combination] = {}
    for chosen in sets_of_evidences(tuple(ratios)):
        at_hand = [~np.isnan(ratios[name]).all(axis=1) for name in sorted(chosen)]
        rows = np.flatnonzero(np.logical_and.reduce(at_hand))
        if rows.size:
            part = {name: ratios[name][rows] for name in chosen}
            fitted[chosen] = _combination(table.rows(rows), part, chosen, fitted)
    return fitted


def log_posterior(fused: Float64Array, candidates: Sequence[str]) -> Float64Array:
    """Return log probabilities of candidates, unknown, real; shape of `fused`."""
    logs: Float64Array = log_softmax(fused + _log_prior(candidates), axis=1)
    return logs


def fit_choices(
    design: Float64Array,
    offsets: Float64Array,
    truth: npt.NDArray[np.intp],
    weights: Float64Array,
    *,
    centre: Float64Array,
    strength: Float64Array,
    nonnegative: npt.NDArray[np.bool_],
) -> Float64Array:
    """Minimise the weighted log loss plus strength / 2 * (parameter - centre)**2.

    Args:
        design: What speaks for each label of each query, shape (N, L, P), finite.
        offsets: Log odds that are not fitted, shape (N, L); -inf takes a label out of a query.
        truth: Label of each query, shape (N,), 0..L - 1.
        weights: How much each query counts, shape (N,), 0 or above.
        centre: Parameters where the data say nothing, shape (P,).
        strength: How many queries of unit information each centre counts for, shape (P,), above 0.
        nonnegative: Whether a parameter is kept at 0 or above, shape (P,).

    Returns:
        The parameters, shape (P,), float64.
    """
    rows = np.arange(len(truth))
    picked = design[rows, truth]  # (N, P)

    def loss_and_gradient(parameters: Float64Array) -> tuple[float, Float64Array]:
        logs = log_softmax(offsets + design @ parameters, axis=1)
        away = parameters - centre
        loss = strength @ np.square(away) / 2 - weights @ logs[rows, truth]
        mean = np.einsum("nl,nlp->np", np.exp(logs), design)
        return float(loss), weights @ (mean - picked) + strength * away

    lowest = np.where(nonnegative, 0.0, -np.inf)
    found = minimize(
        loss_and_gradient,
        np.maximum(centre, lowest),
        method="L-BFGS-B",
        jac=True,
        bounds=Bounds(lowest, np.inf),
        options={"ftol": LOSS_TOLERANCE, "gtol": GRADIENT_TOLERANCE, "maxiter": MAX_STEPS},
    )
    return np.asarray(found.x, np.float64)


def _own_labels(table: ScoreTable, name: str) -> npt.NDArray[np.intp]:
    """Return the label that each column of an evidence speaks for, shape (K,) or (1,)."""
    count = len(table.candidates)
    return (
        np.arange(count) if table.kinds[name] is EvidenceKind.CANDIDATES else np.array([count + 1])
    )


def _usable(table: ScoreTable, name: str) -> npt.NDArray[np.bool_]:
    """Return the scores of columns with images of their own; of others nothing is learnt."""
    return table.present(name) & np.isin(_own_labels(table, name), table.truth)


def _pairs(
    table: ScoreTable, name: str, calibration: EvidenceCalibration
) -> tuple[Float64Array, npt.NDArray[np.bool_], Float64Array]:
    """Return features (M, F), whether a pair is a match (M,), and weights (M,).

    Per column, matches weigh together as much as all else. The weights sum to twice the matches.
    """
    keys = keys_of(table, calibration.kind)
    features = features_from_scores(
        calibration.standardised(table.scores[name], keys), calibration.kind
    )
    chosen = _usable(table, name)
    positive = table.truth[:, None] == _own_labels(table, name)
    pair_weights = np.where(chosen, label_weights(table)[:, None], 0.0)
    matches = np.where(positive, pair_weights, 0.0).sum(axis=0)
    others = np.where(positive, 0.0, pair_weights).sum(axis=0)
    balance = matches / np.where(others > 0, others, 1.0)
    pair_weights = np.where(positive, pair_weights, pair_weights * balance)
    scale = (chosen & positive).sum() / max(float(matches.sum()), np.finfo(np.float64).tiny)
    return features[chosen], positive[chosen], pair_weights[chosen] * scale


def _fitted(
    values: Float64Array, positive: npt.NDArray[np.bool_], weights: Float64Array
) -> Float64Array:
    """Return intercept and coefficients of a logistic regression, shape (1 + F,)."""
    size = 1 + values.shape[1]
    design = np.zeros((len(values), 2, size))
    design[:, 0, 0] = 1.0
    design[:, 0, 1:] = values
    truth = np.where(positive, 0, 1).astype(np.intp)
    return fit_choices(
        design,
        np.zeros((len(values), 2)),
        truth,
        weights,
        centre=np.zeros(size),
        strength=np.full(size, RIDGE),
        nonnegative=np.arange(size) > 0,
    )


def _spreads(table: ScoreTable, name: str, sharing: Sharing) -> tuple[Spread, dict[str, Spread]]:
    """Return the shared spread, and those of the candidates when they have their own."""
    scores = table.scores[name]
    other = table.present(name) & (table.truth[:, None] != _own_labels(table, name))
    pooled = np.where(other, label_weights(table)[:, None], 0.0)
    total = float(pooled.sum())
    if total == 0:
        return Spread(0.0, 1.0), {}
    filled = np.where(other, scores, 0.0)
    location = float((pooled * filled).sum() / total)
    variance = float((pooled * np.square(filled - location)).sum() / total)
    scale = _scale(variance, location)
    if sharing is Sharing.SHARED or table.kinds[name] is EvidenceKind.PHOTOGRAPH:
        return Spread(location, scale), {}
    spreads = {}
    for column, candidate in enumerate(table.candidates):
        mass = pooled[:, column]
        sums = mass.sum() + SCALE_PRIOR
        own_location = (mass @ filled[:, column] + SCALE_PRIOR * location) / sums
        squares = mass @ np.square(filled[:, column] - own_location) + SCALE_PRIOR * variance
        own_scale = _scale(float(squares / sums), float(own_location))
        spreads[candidate] = Spread(float(own_location), own_scale)
    return Spread(location, scale), spreads


def _scale(variance: float, location: float) -> float:
    """Return the standard deviation; scores that are all alike must not be blown up to a signal."""
    return max(float(np.sqrt(variance)), SMALLEST_SCALE * max(1.0, abs(location)))


def _combination(
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
        design,
        held + _log_prior(table.candidates),
        table.truth,
        label_weights(table),
        centre=np.array([0.0, 0.0, *(1 / count for count in speaking)]),
        strength=np.array([BIAS_RIDGE, BIAS_RIDGE, *[WEIGHT_RIDGE] * len(names)]),
        nonnegative=np.array([False, False, *[True] * len(names)]),
    )
    return Combination(
        weights=dict(zip(names, parameters[2:].tolist(), strict=True)),
        bias=float(parameters[0]),
        photograph_bias=float(parameters[1]),
    )


def _log_prior(candidates: Sequence[str]) -> Float64Array:
    prior = prior_from_candidates(candidates)
    logs: Float64Array = np.log(np.array(list(prior.values())))
    return logs
