"""The calibration of a lineup: how raw scores become log likelihood ratios, and what those mean.

A score says little by itself: how close resyntheses come depends on what the image shows. So the
scores of one query are compared with each other. After standardising (location and scale of
images that the candidate did not make), three numbers describe how candidate c stands:

    level        its own score
    above_mean   minus the mean over the other candidates
    above_best   minus the best of the other candidates

Their weights are never negative, so the ratio rises with the candidate's score.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from lineup.results import REAL, UNKNOWN
from lineup.types import Float64Array

SCHEMA_VERSION = 1

EvidenceSet = frozenset[str]

Option = str | int | float | bool | None
Options = Mapping[str, Option]
"""What an evidence was computed with, e.g. {"gamma": 4, "distance": "cosine"}."""


class EvidenceKind(str, Enum):
    """What an evidence speaks of."""

    CANDIDATES = "candidates"
    """A score per candidate: made by it, or by anything else."""

    REAL = "real"
    """One score: a photograph, or generated."""


FEATURES = {
    EvidenceKind.CANDIDATES: ("level", "above_mean", "above_best"),
    EvidenceKind.REAL: ("level",),
}


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
        features = features_from_scores(self.standardised(scores, keys), self.kind)
        weights = np.array([self.coefficients[name] for name in FEATURES[self.kind]])
        return _limited(features @ weights + self.intercept, self.limit)

    def standardised(self, scores: Float64Array, keys: tuple[str, ...]) -> Float64Array:
        """Return the scores less their location, over their scale; see `llrs`."""
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


@dataclass(frozen=True, slots=True)
class ConformalThresholds:
    """Lowest log posterior with which a label belongs to the set; -inf takes it in always.

    Attributes:
        candidates: Of every candidate.
        unknown: Of `UNKNOWN`.
        real: Of `REAL`.
    """

    candidates: float = -math.inf
    unknown: float = -math.inf
    real: float = -math.inf

    def of(self, label: str) -> float:
        """Return the threshold of a label."""
        return {UNKNOWN: self.unknown, REAL: self.real}.get(label, self.candidates)


@dataclass(frozen=True, slots=True)
class FamilyRule:
    """When the members of a family are separable.

    Attributes:
        members: Candidates that share a VAE, at least two.
        share: From this share of the family's posterior on, the best member is named alone;
            above 1 it never is.
        queries: Calibration queries that it rests on.
        accuracy: Share of them whose best member was right, 0..1; NaN without any.
    """

    members: tuple[str, ...]
    share: float
    queries: int
    accuracy: float


@dataclass(frozen=True, slots=True)
class SetCalibration:
    """What is known about one set of evidences.

    Attributes:
        combination: Weights of the evidences.
        thresholds: Of the conformal set.
        families: Rule per family.
        figures: Held-out figures, e.g. {"accuracy": 0.97, "ece": 0.02}; for information.
    """

    combination: Combination
    thresholds: ConformalThresholds
    families: Mapping[str, FamilyRule]
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CalibrationVariant:
    """A calibration for one choice of options.

    Attributes:
        options: Options per evidence that the scores were computed with.
        evidence: Calibration per evidence.
        sets: What was fitted per set of evidences.
    """

    options: Mapping[str, Options]
    evidence: Mapping[str, EvidenceCalibration]
    sets: Mapping[EvidenceSet, SetCalibration]

    def fitting(self, options: Mapping[str, Options]) -> frozenset[str]:
        """Return the evidences that this variant holds for; one without options has none."""
        return frozenset(
            name
            for name in self.evidence
            if dict(options.get(name, {})) == dict(self.options.get(name, {}))
        )


@dataclass(frozen=True, slots=True)
class Calibration:
    """How a lineup's raw scores become probabilities.

    Attributes:
        lineup: Name of the lineup.
        candidates: Its candidates when it was calibrated.
        level: Coverage of the conformal set, 0..1.
        family_level: Accuracy within a family below which siblings are reported together.
        created: ISO 8601 date.
        version: Version of lineup that fitted it.
        seed: Seed of the splits.
        folds: Number of parts of the cross-validation.
        counts: Calibration queries per label.
        variants: One per choice of options.
    """

    lineup: str
    candidates: tuple[str, ...]
    level: float
    family_level: float
    created: str
    version: str
    seed: int
    folds: int
    counts: Mapping[str, int]
    variants: tuple[CalibrationVariant, ...]

    def variant(self, options: Mapping[str, Options]) -> CalibrationVariant | None:
        """Return the variant that fits most of the evidences in use; None when none fits any.

        Args:
            options: Options of every evidence in use.
        """
        best = max(self.variants, key=lambda one: len(one.fitting(options)), default=None)
        return best if best is not None and best.fitting(options) else None


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
