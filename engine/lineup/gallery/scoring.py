"""From fingerprints to calibrated evidence: how well a query fits each candidate's support set.

The score of a query against a source is the mean of its cosines with the source's fingerprints,
which is its product with their mean. The calibration turns scores into log
likelihood ratios. It is fitted on the gallery itself: every support fingerprint is scored against
its own source with itself left out (a positive) and against all other sources (a negative).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lineup.gallery.gallery import Gallery
from lineup.types import AnyArray, Float32Array, Float64Array

PRIOR_SLOPE = 1.5
PRIOR_INTERCEPT = -4.5
"""Log likelihood ratio = slope * standardised score + intercept, where the gallery says nothing:
rounded from the fit on the shipped gallery, with a lower slope so as to claim less."""

PRIOR_WEIGHT = 4.0
"""How many support images the prior line counts for."""

PRIOR_DEVIATION = 0.03
"""Standard deviation of an unrelated image's score where the gallery has no others to tell."""

PRIOR_NEGATIVES = 5.0
"""How many negatives the prior deviation counts for."""


@dataclass(frozen=True, slots=True)
class SourceCalibration:
    """How scores against one source are spread in the gallery.

    Attributes:
        negative_mean: Mean score of other sources' images against this source.
        negative_deviation: Their standard deviation, above 0.
        negatives: Their standardised scores, ascending, shape (n,), float64.
        positives: Standardised leave-one-out scores of its own images, ascending, shape (n,).
    """

    negative_mean: float
    negative_deviation: float
    negatives: Float64Array
    positives: Float64Array

    def standardised(self, score: float) -> float:
        """Return a score in deviations from the negatives' mean."""
        return (score - self.negative_mean) / self.negative_deviation


class SourceScorer:
    """Scores queries against the candidates of one gallery.

    Args:
        gallery: The known sources.

    Attributes:
        names: The candidates, in the column order of every array returned here.
        slope: Of the calibration line, shared by all sources.
        intercept: Of the calibration line.
        llr_limit: Largest claim in either direction: a gallery of n images cannot show odds
            beyond about n to 1.
    """

    def __init__(self, gallery: Gallery) -> None:
        candidates = gallery.candidates
        self.names = tuple(support.name for support in candidates)
        self._means = tuple(
            support.fingerprints.astype(np.float64).mean(axis=0) for support in candidates
        )
        everything = [*candidates, *gallery.reals]
        self.calibrations = tuple(
            _source_calibration(
                leave_one_out_scores(support.fingerprints),
                self._means[column],
                [other.fingerprints for other in everything if other is not support],
            )
            for column, support in enumerate(candidates)
        )
        self.slope, self.intercept = _line_from_calibrations(self.calibrations)
        self.llr_limit = float(np.log(2 + sum(len(support) for support in everything)))

    def scores(self, fingerprints: Float32Array) -> Float32Array:
        """Return scores, (queries, candidates), for fingerprints (queries, dimension)."""
        scores = np.empty((len(fingerprints), len(self.names)), np.float32)
        for column, mean in enumerate(self._means):
            scores[:, column] = _products(fingerprints, mean)
        return scores

    def llrs(self, scores: Float32Array) -> Float64Array:
        """Return natural-log likelihood ratios of the same shape, within +-`llr_limit`."""
        means = np.array([one.negative_mean for one in self.calibrations], np.float32)
        deviations = np.array([one.negative_deviation for one in self.calibrations], np.float32)
        standardised = ((scores - means) / deviations).astype(np.float64)
        line = self.slope * standardised + self.intercept
        return np.clip(line, -self.llr_limit, self.llr_limit)

    def false_accept_rate(self, name: str, score: float) -> float:
        """Return the share of the gallery's other images that score at least this high, 0..1."""
        one = self.calibrations[self.names.index(name)]
        return _mean(one.negatives >= one.standardised(score))

    def false_reject_rate(self, name: str, score: float) -> float:
        """Return the share of the source's own images that score below this, 0..1."""
        one = self.calibrations[self.names.index(name)]
        return _mean(one.positives < one.standardised(score))


def highest_rate(hits: int, trials: int, level: float = 0.975) -> float:
    """Return the highest rate that as few hits do not rule out (Clopper and Pearson 1934).

    Args:
        hits: How often something was seen.
        trials: In how many trials, at least 1.
        level: Confidence that the rate is not higher; 0.975 is the upper end of a 95 % interval.

    Returns:
        The rate, 0..1, at which so few hits have the probability 1 - level.
    """
    if hits >= trials:
        return 1.0
    ways = [math.log(math.comb(trials, count)) for count in range(hits + 1)]
    low, high = hits / trials, 1.0
    while high - low > 1e-9:
        rate = (low + high) / 2
        logs = [
            way + count * math.log(rate) + (trials - count) * math.log1p(-rate)
            for count, way in enumerate(ways)
        ]
        is_likely = math.fsum(map(math.exp, logs)) > 1 - level
        low, high = (rate, high) if is_likely else (low, rate)
    return high


def leave_one_out_scores(support: Float32Array) -> Float64Array:
    """Return each fingerprint's score against the others of its own support.

    Args:
        support: Fingerprints of one source, shape (N, D), rows L2-normalised.

    Returns:
        Shape (N,); empty for a single row, which has no others.
    """
    count = len(support)
    if count < 2:
        return np.empty(0)
    rows = support.astype(np.float64)
    # sum_j z_i.z_j includes z_i.z_i, which is taken out with the row.
    means = (rows.sum(axis=0) - rows) / (count - 1)
    return np.asarray(np.einsum("nd,nd->n", rows, means))


def _mean(chosen: AnyArray) -> float:
    return float(chosen.mean()) if chosen.size else float("nan")


def _products(fingerprints: Float32Array, mean: Float64Array) -> AnyArray:
    return np.asarray(fingerprints @ mean.astype(fingerprints.dtype)[:, None])[:, 0]


def _source_calibration(
    positives: Float64Array, mean: Float64Array, others: list[Float32Array]
) -> SourceCalibration:
    scores = [_products(other, mean) for other in others]
    negatives = np.concatenate(scores or [np.empty(0)]).astype(np.float64)
    count = negatives.size
    # Shrunk towards the prior, so that two or three negatives do not pass for a distribution.
    centre = float(negatives.sum() / (count + PRIOR_NEGATIVES))
    spread = float(np.square(negatives - centre).sum() + PRIOR_NEGATIVES * PRIOR_DEVIATION**2)
    deviation = float(np.sqrt(spread / (count + PRIOR_NEGATIVES)))
    return SourceCalibration(
        negative_mean=centre,
        negative_deviation=deviation,
        negatives=np.sort((negatives - centre) / deviation),
        positives=np.sort((positives - centre) / deviation),
    )


def _line_from_calibrations(calibrations: tuple[SourceCalibration, ...]) -> tuple[float, float]:
    """Fit slope and intercept of the log likelihood ratio by logistic regression.

    Both classes carry the same total weight, so the fitted log odds are a likelihood ratio; the
    weight is the number of positives, against which the prior counts `PRIOR_WEIGHT`.
    """
    positives = np.concatenate([one.positives for one in calibrations] or [np.empty(0)])
    negatives = np.concatenate([one.negatives for one in calibrations] or [np.empty(0)])
    if not positives.size or not negatives.size:
        return PRIOR_SLOPE, PRIOR_INTERCEPT
    values = np.concatenate([positives, negatives])
    targets = np.concatenate([np.ones(positives.size), np.zeros(negatives.size)])
    weights = np.where(targets == 1, 1.0, positives.size / negatives.size)
    slope, intercept = _logistic_line(values, targets, weights)
    # A falling line would call dissimilar images matches; that only happens on noise.
    return max(slope, 0.0), intercept


def _logistic_line(
    values: Float64Array, targets: Float64Array, weights: Float64Array
) -> tuple[float, float]:
    """Minimise weighted logistic loss plus a ridge around the prior line, by damped Newton steps.

    The problem is convex in its two unknowns; halving a step that does not lower the loss is
    needed because a plain Newton step overshoots where the logistic curve is flat.
    """
    design = np.stack([values, np.ones_like(values)], axis=1)
    prior = np.array([PRIOR_SLOPE, PRIOR_INTERCEPT])

    def loss(line: Float64Array) -> float:
        logits = design @ line
        data = weights @ (np.logaddexp(0, logits) - targets * logits)
        return float(data + PRIOR_WEIGHT / 2 * np.square(line - prior).sum())

    line = prior.copy()
    for _ in range(100):
        odds = 1 / (1 + np.exp(-np.clip(design @ line, -30, 30)))
        gradient = design.T @ (weights * (odds - targets)) + PRIOR_WEIGHT * (line - prior)
        curvature = (design * (weights * odds * (1 - odds))[:, None]).T @ design
        step = np.linalg.solve(curvature + PRIOR_WEIGHT * np.eye(2), gradient)
        before = loss(line)
        while loss(line - step) > before and np.abs(step).max() > 1e-9:
            step /= 2
        line = line - step
        if np.abs(step).max() <= 1e-9:
            break
    return float(line[0]), float(line[1])
