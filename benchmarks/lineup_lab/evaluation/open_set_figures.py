"""Figures of classification from the answers to every source's queries, whole and resampled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lineup_lab.evaluation.metrics import (
    Float64Array,
    auc,
    oscr,
    resampled_aucs,
    resampled_oscrs,
)

PERCENT = 100.0
TOP = 3


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures in percent; None where they have no meaning.

    Attributes:
        accuracy: Share of known queries whose most probable class is right.
        top3: Share of known queries with their class among the three most probable.
        oscr: Area under correct classification against false acceptance.
        auroc_unknown: AUC of known against unknown queries.
    """

    accuracy: float | None
    top3: float | None
    oscr: float | None
    auroc_unknown: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Answers to one source's queries.

    Attributes:
        classes: The known classes.
        is_known: Whether the source belongs to one of them.
        predicted: Index of the most probable class, shape (Q,).
        scores: Its probability, shape (Q,), float64.
        correct: Whether it is the source's, shape (Q,), bool.
        in_top: Whether the source's class is among the three most probable, shape (Q,), bool.
    """

    classes: tuple[str, ...]
    is_known: bool
    predicted: npt.NDArray[np.intp]
    scores: Float64Array
    correct: npt.NDArray[np.bool_]
    in_top: npt.NDArray[np.bool_]

    def counts(self) -> dict[str, int]:
        """Return how often each class was the answer."""
        counts = np.bincount(self.predicted, minlength=len(self.classes))
        return dict(zip(self.classes, counts.tolist(), strict=True))


def answers_from_probabilities(
    probabilities: Float64Array, classes: tuple[str, ...], truth: str | None
) -> Answers:
    """Return the answers to one source's queries.

    Args:
        probabilities: Of the known classes, shape (Q, T).
        classes: The known classes, T of them.
        truth: The class of all queries; None when it is none of them.
    """
    predicted = probabilities.argmax(axis=1)
    correct = np.zeros(len(predicted), bool)
    in_top = np.zeros(len(predicted), bool)
    if truth is not None:
        column = classes.index(truth)
        correct = predicted == column
        own = probabilities[:, [column]]
        # Columns of equal probability are taken in order, as argmax does.
        before = (probabilities > own).sum(axis=1) + (probabilities == own)[:, :column].sum(axis=1)
        in_top = before < TOP
    return Answers(
        classes, truth is not None, predicted, probabilities.max(axis=1), correct, in_top
    )


def figures_from_answers(answers: Mapping[str, Answers]) -> Figures:
    """Return the figures over all sources; without unknown ones, accuracy and top3 only."""
    known = [one for one in answers.values() if one.is_known]
    unknown = [one for one in answers.values() if not one.is_known]
    correct = np.concatenate([one.correct for one in known])
    accuracy = PERCENT * float(correct.mean())
    top3 = PERCENT * float(np.concatenate([one.in_top for one in known]).mean())
    if not unknown:
        return Figures(accuracy, top3, None, None)
    of_known, of_unknown = _scores(known), _scores(unknown)
    return Figures(
        accuracy,
        top3,
        PERCENT * oscr(of_known, correct, of_unknown),
        PERCENT * auc(of_known, of_unknown),
    )


def resampled_figures(
    answers: Mapping[str, Answers], counts: Mapping[str, npt.NDArray[np.int64]]
) -> dict[str, Float64Array]:
    """Return every figure that there is in each bootstrap resample.

    Args:
        answers: Answers per source.
        counts: How often each query was drawn, per source, shape (resamples, Q).

    Returns:
        Percentages per figure, shape (resamples,).
    """
    known = {name: one for name, one in answers.items() if one.is_known}
    unknown = {name: one for name, one in answers.items() if not one.is_known}
    drawn = np.concatenate([counts[name] for name in known], axis=1)  # (resamples, K)
    correct = np.concatenate([one.correct for one in known.values()])
    in_top = np.concatenate([one.in_top for one in known.values()])
    figures = {
        "accuracy": PERCENT * (drawn @ correct) / drawn.sum(axis=1),
        "top3": PERCENT * (drawn @ in_top) / drawn.sum(axis=1),
    }
    if unknown:
        of_known, of_unknown = _scores([*known.values()]), _scores([*unknown.values()])
        drawn_unknown = np.concatenate([counts[name] for name in unknown], axis=1)
        figures["oscr"] = PERCENT * resampled_oscrs(
            of_known, correct, of_unknown, drawn, drawn_unknown
        )
        figures["auroc_unknown"] = PERCENT * resampled_aucs(
            of_known, of_unknown, drawn, drawn_unknown
        )
    return figures


def _scores(answers: Sequence[Answers]) -> Float64Array:
    return np.concatenate([one.scores for one in answers])
