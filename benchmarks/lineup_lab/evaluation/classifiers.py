"""The classifiers that the classification protocols can be run with."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import numpy as np
import numpy.typing as npt

from lineup.fusion import verdict_from_evidence
from lineup.gallery.gallery import Gallery, SourceRole, SupportSet
from lineup.gallery.scoring import SourceScorer
from lineup.results import REAL, Evidence
from lineup.types import Float32Array
from lineup_lab.evaluation.classification import Fit, KnownProbabilities
from lineup_lab.fitting.classifier import RIDGE, classifier_from_fingerprints


class ClassifierKind(str, Enum):
    """Which classifier is fitted on the support."""

    LOGISTIC = "logistic"
    """Multinomial logistic regression, with a reject class where there are reject fingerprints."""

    CALIBRATED = "calibrated"
    """The gallery's own: mean cosine with each source, calibrated, and an even prior for none."""


def logistic_fit(
    fingerprint_digest: str, *, reject: Float32Array | None = None, ridge: float = RIDGE
) -> Fit:
    """Return what fits the classifier of `lineup fit-open-set`.

    Args:
        fingerprint_digest: Identity of the bundle that makes the fingerprints.
        reject: Fingerprints of what is none of the classes, shape (R, D); None fits no such class.
        ridge: Penalty on the squared weights.
    """

    def fit(supports: Mapping[str, Float32Array]) -> KnownProbabilities:
        return classifier_from_fingerprints(
            supports, fingerprint_digest=fingerprint_digest, reject=reject, ridge=ridge
        ).known_probabilities

    return fit


def calibrated_fit(supports: Mapping[str, Float32Array]) -> KnownProbabilities:
    """Fit the scorer of the gallery on the support of every class, photographs as such."""
    names = [name for name in supports if name != REAL]
    sets = [
        _support_set(f"class-{index}", supports[name], SourceRole.CANDIDATE)
        for index, name in enumerate(names)
    ]
    if REAL in supports:
        sets.append(_support_set(REAL, supports[REAL], SourceRole.REAL))
    scorer = SourceScorer(Gallery("evaluation", {one.name: one for one in sets}))
    # Columns as in `supports`; the scorer sorts its candidates by name.
    keys = [REAL if name == REAL else f"class-{names.index(name)}" for name in supports]

    def probabilities(fingerprints: Float32Array) -> npt.NDArray[np.float64]:
        llrs = scorer.llrs(scorer.scores(fingerprints))
        rows = np.empty((len(fingerprints), len(keys)))
        for row, values in enumerate(llrs.tolist()):
            llr = dict(zip(scorer.names, values, strict=True))
            verdict = verdict_from_evidence(scorer.names, [Evidence("fingerprint", {}, llr, 0.0)])
            rows[row] = [verdict.posterior[key] for key in keys]
        return rows

    return probabilities


def _support_set(name: str, rows: Float32Array, role: SourceRole) -> SupportSet:
    ids = tuple(f"{index:064x}" for index in range(len(rows)))
    return SupportSet(name, role, rows, ids)
