"""One evidence: from raw scores to log likelihood ratios, by logistic regression.

A score says little by itself: how close resyntheses come depends on what the image shows. So the
scores of one query are compared with each other. After standardising (location and scale of
images that the candidate did not make), three numbers describe how candidate c stands:

    level        its own score
    above_mean   minus the mean over the other candidates
    above_best   minus the best of the other candidates

Their weights are never negative, so the ratio rises with the candidate's score. "Made by c" weighs
as much as "made by anything else", in which the other candidates, unknown generators and
photographs weigh as their prior; the fitted log odds are therefore a log likelihood ratio.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from lineup.calibration.logit import Choices, Ridge, fit_choices
from lineup.calibration.table import EvidenceKind, ScoreTable, label_weights
from lineup.errors import CalibrationError

Float64Array = npt.NDArray[np.float64]

FEATURES = {
    EvidenceKind.CANDIDATES: ("level", "above_mean", "above_best"),
    EvidenceKind.REAL: ("level",),
}
RIDGE = 0.5
"""Pull of every coefficient to 0, in queries: with few of them a calibration claims little."""

SCALE_PRIOR = 5.0
"""How many queries the shared location and scale count for in a candidate's own."""

SMALLEST_SCALE = 1e-6
"""Standard deviation of scores that do not differ, relative to their location."""


class Sharing(str, Enum):
    """Whether candidates have a location and scale of their own."""

    SHARED = "shared"
    PER_CANDIDATE = "per-candidate"


@dataclass(frozen=True, slots=True)
class Spread:
    """Where the scores of images lie that a candidate did not make.

    Attributes:
        location: Their mean.
        scale: Their standard deviation, above 0.
    """

    location: float
    scale: float


@dataclass(frozen=True, slots=True)
class EvidenceCalibration:
    """Maps an evidence's raw scores to natural-log likelihood ratios.

    Attributes:
        kind: What the evidence speaks of.
        sharing: How `spreads` came about.
        shared: Spread of every key that is not in `spreads`.
        spreads: Spread per candidate; empty when shared.
        coefficients: One per feature of `FEATURES`, 0 or above.
        intercept: Log ratio of a query whose features are all 0.
        limit: Ratios approach this in either direction and never pass it: n queries cannot show
            odds beyond about n to 1.
        counts: Queries that had a score, per label.
    """

    kind: EvidenceKind
    sharing: Sharing
    shared: Spread
    spreads: Mapping[str, Spread]
    coefficients: Mapping[str, float]
    intercept: float
    limit: float
    counts: Mapping[str, int]

    def llrs(self, scores: Float64Array, keys: tuple[str, ...]) -> Float64Array:
        """Return log likelihood ratios.

        Args:
            scores: Raw scores, shape (N, keys); NaN is absent.
            keys: The candidates, or `REAL` alone.

        Returns:
            Shape (N, keys), within +-`limit`; NaN where the score is.
        """
        features = features_from_scores(self._standardised(scores, keys), self.kind)
        weights = np.array([self.coefficients[name] for name in FEATURES[self.kind]])
        return _limited(features @ weights + self.intercept, self.limit)

    def _standardised(self, scores: Float64Array, keys: tuple[str, ...]) -> Float64Array:
        spreads = [self.spreads.get(key, self.shared) for key in keys]
        locations = np.array([spread.location for spread in spreads])
        scales = np.array([spread.scale for spread in spreads])
        return np.asarray((scores - locations) / scales)


def features_from_scores(standardised: Float64Array, kind: EvidenceKind) -> Float64Array:
    """Return the features of every score.

    Args:
        standardised: Shape (N, K); NaN is absent.
        kind: What the evidence speaks of.

    Returns:
        Shape (N, K, features); NaN where the score is absent. A score without others to compare
        with stands exactly between them.
    """
    if kind is EvidenceKind.REAL:
        return np.asarray(standardised[:, :, None])
    present = ~np.isnan(standardised)
    filled = np.where(present, standardised, 0.0)
    others = present.sum(axis=1, keepdims=True) - 1
    mean = (filled.sum(axis=1, keepdims=True) - filled) / np.maximum(others, 1)
    best = _best_of_others(np.where(present, standardised, -np.inf))
    alone = others < 1
    above_mean = np.where(alone, 0.0, standardised - mean)
    above_best = np.where(alone, 0.0, standardised - np.where(np.isfinite(best), best, 0.0))
    features = np.stack([standardised, above_mean, above_best], axis=2)
    features[~present] = np.nan
    return features


def fit_evidence(table: ScoreTable, name: str, sharing: Sharing) -> EvidenceCalibration:
    """Fit one evidence.

    Args:
        table: The calibration queries.
        name: The evidence.
        sharing: Whether candidates get a spread of their own.

    Raises:
        CalibrationError: No query of a candidate (or, for `REAL`, no photograph) has a score, or
            no other query has.
    """
    kind = table.kinds[name]
    weights = label_weights(table)
    own = _own_labels(table, kind)
    shared, spreads = _spreads(table, name, weights, own, sharing)
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
    values, positive, pair_weights = _pairs(table, name, weights, own, blank)
    if not (positive.any() and (~positive).any()):
        lacking = "made by none of the candidates" if positive.any() else "made by a candidate"
        if kind is EvidenceKind.REAL:
            lacking = "that is generated" if positive.any() else "that is a photograph"
        raise CalibrationError(
            f"The evidence {name!r} cannot be calibrated: no query with a score is one {lacking}.",
            hint="Add such images to the calibration folder.",
        )
    parameters = _fitted(values, positive, pair_weights)
    return EvidenceCalibration(
        kind=kind,
        sharing=sharing,
        shared=shared,
        spreads=spreads,
        coefficients=dict(zip(FEATURES[kind], parameters[1:].tolist(), strict=True)),
        intercept=float(parameters[0]),
        limit=blank.limit,
        counts=blank.counts,
    )


def pair_loss(calibration: EvidenceCalibration, table: ScoreTable, name: str) -> float:
    """Return the mean log loss of "made by it" at even odds over a table, in nats; NaN if empty."""
    own = _own_labels(table, calibration.kind)
    _, positive, weights = _pairs(table, name, label_weights(table), own, calibration)
    ratios = calibration.llrs(table.scores[name], keys_of(table, calibration.kind))
    logits = ratios[table.present(name) & _usable(table, own)]
    if not logits.size:
        return float("nan")
    losses = np.logaddexp(0, logits) - positive * logits
    return float(weights @ losses / weights.sum())


def keys_of(table: ScoreTable, kind: EvidenceKind) -> tuple[str, ...]:
    """Return the keys of an evidence's columns."""
    return table.candidates if kind is EvidenceKind.CANDIDATES else table.labels[-1:]


def _own_labels(table: ScoreTable, kind: EvidenceKind) -> npt.NDArray[np.intp]:
    """Return the label that each column speaks for, shape (K,) or (1,)."""
    count = len(table.candidates)
    return np.arange(count) if kind is EvidenceKind.CANDIDATES else np.array([count + 1])


def _usable(table: ScoreTable, own: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Return the columns that have images of their own; from the others nothing is learnt."""
    return np.isin(own, table.truth)[None, :]


def _pairs(
    table: ScoreTable,
    name: str,
    weights: Float64Array,
    own: npt.NDArray[np.intp],
    calibration: EvidenceCalibration,
) -> tuple[Float64Array, npt.NDArray[np.bool_], Float64Array]:
    """Return features (M, F), whether a pair is a match (M,), and weights (M,).

    Per column, matches weigh together as much as all else. The weights sum to twice the matches.
    """
    keys = keys_of(table, calibration.kind)
    features = features_from_scores(
        calibration._standardised(table.scores[name], keys), calibration.kind
    )
    chosen = table.present(name) & _usable(table, own)
    positive = table.truth[:, None] == own[None, :]
    pair_weights = np.where(chosen, weights[:, None], 0.0)
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
    return fit_choices(
        Choices(
            design=design,
            offsets=np.zeros((len(values), 2)),
            truth=np.where(positive, 0, 1).astype(np.intp),
            weights=weights,
        ),
        Ridge(
            centre=np.zeros(size),
            strength=np.full(size, RIDGE),
            nonnegative=np.arange(size) > 0,
        ),
    )


def _spreads(
    table: ScoreTable,
    name: str,
    weights: Float64Array,
    own: npt.NDArray[np.intp],
    sharing: Sharing,
) -> tuple[Spread, dict[str, Spread]]:
    """Return the shared spread, and those of the candidates when they have their own."""
    scores = table.scores[name]
    other = table.present(name) & (table.truth[:, None] != own[None, :])
    pooled = np.where(other, weights[:, None], 0.0)
    total = float(pooled.sum())
    if total == 0:
        return Spread(0.0, 1.0), {}
    filled = np.where(other, scores, 0.0)
    location = float((pooled * filled).sum() / total)
    variance = float((pooled * np.square(filled - location)).sum() / total)
    scale = _scale(variance, location)
    if sharing is Sharing.SHARED or table.kinds[name] is EvidenceKind.REAL:
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


def _best_of_others(scores: Float64Array) -> Float64Array:
    """Return the highest score of the other columns, shape of `scores`; -inf where none is."""
    if scores.shape[1] < 2:
        return np.full_like(scores, -np.inf)
    ordered = np.sort(scores, axis=1)
    best, second = ordered[:, -1:], ordered[:, -2:-1]
    is_best = scores == best
    # Where two share the best, the best of the others is that score too, as `second` says.
    return np.where(is_best, second, best)


def _limited(logits: Float64Array, limit: float) -> Float64Array:
    """Bend ratios so that they never pass the limit and never lose their order."""
    limited: Float64Array = limit * np.tanh(logits / limit)
    return limited
