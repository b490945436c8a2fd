"""The calibration of a lineup, and the classes that it consists of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lineup.calibration.combination import Combination, EvidenceSet
from lineup.calibration.conformal import ConformalThresholds
from lineup.calibration.family import FamilyRule
from lineup.calibration.ratios import EvidenceCalibration

SCHEMA_VERSION = 1

Option = str | int | float | bool | None
Options = Mapping[str, Option]
"""What an evidence was computed with, e.g. {"gamma": 4, "distance": "cosine"}."""


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
