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

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta

from lineup.documents import DocumentFormat
from lineup.errors import CalibrationError
from lineup.results import GENERATED, PHOTOGRAPH
from lineup.types import Float64Array

Count = Annotated[int, Meta(ge=0)]
Name = Annotated[str, Meta(min_length=1)]
Positive = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(gt=0, lt=1)]
Weight = Annotated[float, Meta(ge=0)]

EvidenceSet = frozenset[str]

Option = str | int | float | bool | None
Options = Mapping[str, Option]
"""What an evidence was computed with, e.g. {"gamma": 4, "distance": "cosine"}."""


class EvidenceKind(str, Enum):
    """What an evidence speaks of."""

    CANDIDATES = "candidates"
    """A score per candidate: made by it, or by anything else."""

    PHOTOGRAPH = "photograph"
    """One score: a photograph, or generated."""


FEATURES = {
    EvidenceKind.CANDIDATES: ("level", "above_mean", "above_best"),
    EvidenceKind.PHOTOGRAPH: ("level",),
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
    scale: Positive


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
        options: What the scores were computed with.
        method: How it was fitted.
    """

    kind: EvidenceKind
    sharing: Sharing
    shared: Spread
    spreads: Mapping[str, Spread]
    coefficients: Mapping[str, Weight]
    intercept: float
    limit: Positive
    counts: Mapping[str, Count]
    options: Options = field(default_factory=dict)
    method: Literal["logistic"] = "logistic"

    def llrs(self, scores: Float64Array, keys: tuple[str, ...]) -> Float64Array:
        """Return log likelihood ratios.

        Args:
            scores: Raw scores, shape (N, keys); NaN is absent.
            keys: The candidates, or `PHOTOGRAPH` alone.

        Returns:
            Shape (N, keys), within +-`limit`; NaN where the score is.
        """
        features = features_from_scores(self.standardised(scores, keys), self.kind)
        weights = np.array([self.coefficients[name] for name in FEATURES[self.kind]])
        logits = features @ weights + self.intercept
        # Bent so that ratios never pass the limit and never lose their order.
        return np.asarray(self.limit * np.tanh(logits / self.limit))

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
    if kind is EvidenceKind.PHOTOGRAPH:
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
        photograph_bias: Added for `PHOTOGRAPH`.
    """

    weights: Annotated[Mapping[str, Weight], Meta(min_length=1)]
    bias: float
    photograph_bias: float

    @property
    def evidences(self) -> EvidenceSet:
        """The evidences that it weighs."""
        return frozenset(self.weights)


@dataclass(frozen=True, slots=True)
class ConformalThresholds:
    """Lowest log posterior with which a key belongs to the set; None takes it in always.

    Attributes:
        candidates: Of every candidate.
        generated: Of `GENERATED`.
        photograph: Of `PHOTOGRAPH`.
    """

    candidates: float | None = None
    generated: float | None = None
    photograph: float | None = None

    def of(self, key: str) -> float:
        """Return the threshold of a posterior key; -inf where it has none."""
        own = {GENERATED: self.generated, PHOTOGRAPH: self.photograph}
        threshold = own.get(key, self.candidates)
        return -math.inf if threshold is None else threshold


@dataclass(frozen=True, slots=True)
class FamilyRule:
    """When the members of a family are separable.

    Attributes:
        members: Candidates that share a VAE, at least two.
        share: From this share of the family's posterior on, the best member is named alone;
            above 1 it never is.
        queries: Calibration queries that it rests on.
        accuracy: Share of them whose best member was right, 0..1; None without any.
    """

    members: Annotated[tuple[Name, ...], Meta(min_length=2)]
    share: Weight
    queries: Count
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class SetCalibration(Combination):
    """What is known about one set of evidences, beside their weights.

    Attributes:
        thresholds: Of the conformal set.
        families: Rule per family.
        figures: Held-out figures, e.g. {"accuracy": 0.97, "ece": 0.02}, None where there is none;
            for information.
    """

    thresholds: ConformalThresholds
    families: Mapping[str, FamilyRule]
    figures: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CalibrationVariant:
    """A calibration for one choice of options.

    Attributes:
        evidence: Calibration per evidence.
        sets: What was fitted for each set of evidences.
    """

    evidence: Annotated[Mapping[str, EvidenceCalibration], Meta(min_length=1)]
    sets: Annotated[tuple[SetCalibration, ...], Meta(min_length=1)]

    @property
    def by_set(self) -> dict[EvidenceSet, SetCalibration]:
        """What was fitted, per set of evidences."""
        return {one.evidences: one for one in self.sets}

    def fitting(self, options: Mapping[str, Options]) -> frozenset[str]:
        """Return the evidences that this variant holds for; one without options has none."""
        return frozenset(
            name
            for name, one in self.evidence.items()
            if dict(options.get(name, {})) == dict(one.options)
        )


@dataclass(frozen=True)
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

    lineup: Name
    candidates: Annotated[tuple[Name, ...], Meta(min_length=1)]
    level: Share
    family_level: Share
    created: Annotated[str, Meta(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")]
    version: str
    seed: int
    folds: Annotated[int, Meta(ge=2)]
    counts: Mapping[str, Count]
    variants: Annotated[tuple[CalibrationVariant, ...], Meta(min_length=1)]

    @cached_property
    def text(self) -> str:
        """Its content as JSON: the same in every process, which the order of a set is not."""
        return json.dumps(CALIBRATION.to_raw(self), sort_keys=True)

    def variant(self, options: Mapping[str, Options]) -> CalibrationVariant | None:
        """Return the variant that fits most of the evidences in use; None when none fits any.

        Args:
            options: Options of every evidence in use.
        """
        best = max(self.variants, key=lambda one: len(one.fitting(options)), default=None)
        return best if best is not None and best.fitting(options) else None


def _contradictions(calibration: Calibration) -> Iterator[str]:
    if len(set(calibration.candidates)) < len(calibration.candidates):
        yield "candidates: a name is there twice"
    for index, variant in enumerate(calibration.variants):
        for name, evidence in variant.evidence.items():
            expected = FEATURES[evidence.kind]
            if set(evidence.coefficients) != set(expected):
                field = f"variants[{index}].evidence.{name}.coefficients"
                found = ", ".join(sorted(evidence.coefficients))
                yield f"{field}: expected {', '.join(expected)}, got {found}"
        for number, one in enumerate(variant.sets):
            for name in sorted(one.evidences - set(variant.evidence)):
                field = f"variants[{index}].sets[{number}].weights"
                yield f"{field}: {name!r} is not among evidence"


CALIBRATION = DocumentFormat(
    Calibration,
    CalibrationError,
    "Fit it again with lineup calibrate.",
    schema_version=2,
    altered_error=CalibrationError,
    contradictions=_contradictions,
)
"""A calibration's file, which `lineup calibrate` writes."""


def _best_of_others(scores: Float64Array) -> Float64Array:
    """Return the highest score of the other columns, shape of `scores`; -inf where none is."""
    if scores.shape[1] < 2:
        return np.full_like(scores, -np.inf)
    ordered = np.sort(scores, axis=1)
    best, second = ordered[:, -1:], ordered[:, -2:-1]
    is_best = scores == best
    # Where two share the best, the best of the others is that score too, as `second` says.
    return np.where(is_best, second, best)
