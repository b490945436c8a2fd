"""Metrics over scores and probabilities: plain functions of arrays, tie-correct, in float64.

Scores are "higher means more like it". Ties count one half, as in the Mann-Whitney statistic, so
that methods with few distinct scores (nearest-neighbour votes, saturated softmax) get the value
that random tie-breaking would give on average.

A verdict's posterior holds under its prior, so calibration error and log loss weigh the queries as
the prior weighs the origins; otherwise they would measure how a test folder was filled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from lineup.types import Float64Array

Counts = npt.NDArray[np.int64]
"""How often each query was drawn, shape (resamples, queries); no row is all zero."""

PERCENT = 100.0
COUNTS_PER_BLOCK = 4_000_000
"""Bootstrap counts held at once (int64): 32 MB, however many queries there are."""
BINS = 15
TOP = 3


def auc(positives: npt.ArrayLike, negatives: npt.ArrayLike) -> float:
    """Return the area under the ROC curve: P(positive > negative) + P(positive = negative) / 2.

    Args:
        positives: Scores of the positive class, shape (P,), no NaN.
        negatives: Scores of the negative class, shape (N,), no NaN.

    Returns:
        A fraction, 0..1.

    Raises:
        ValueError: A class is empty, not one-dimensional, or holds NaN.
    """
    scores = _scores("positives", positives), _scores("negatives", negatives)
    labels = np.repeat([1, 0], [len(one) for one in scores])
    # By rank, which infinite scores have too.
    return float(roc_auc_score(labels, rankdata(np.concatenate(scores))))


def bootstrap_counts(
    sizes: Mapping[str, int], *, seed: int, resamples: int
) -> Iterator[dict[str, Counts]]:
    """Yield blocks of bootstrap resamples as how often each query of each source was drawn.

    Args:
        sizes: Queries per source, each at least 1.
        seed: Seed of the draws.
        resamples: Number of resamples, over all blocks.
    """
    generators = np.random.default_rng(seed).spawn(len(sizes))
    block = max(1, COUNTS_PER_BLOCK // sum(sizes.values()))
    for start in range(0, resamples, block):
        drawn = min(block, resamples - start)
        yield {
            name: generator.multinomial(size, np.full(size, 1.0 / size), size=drawn)
            for generator, (name, size) in zip(generators, sizes.items(), strict=True)
        }


def resampled_aucs(
    positives: npt.ArrayLike,
    negatives: npt.ArrayLike,
    positive_counts: Counts,
    negative_counts: Counts,
) -> Float64Array:
    """Return the AUC of every bootstrap resample, (resamples,), sorting the scores only once.

    A resample changes how often a score counts, not where it ranks: the cumulative counts of the
    sorted negatives say how many of them lie below each positive, in every resample at once.

    Raises:
        ValueError: A class is empty, not one-dimensional, or holds NaN.
    """
    every = np.ones(np.shape(positives), bool)
    return resampled_oscrs(positives, every, negatives, positive_counts, negative_counts)


def resampled_oscrs(
    known: npt.ArrayLike,
    correct: npt.NDArray[np.bool_],
    unknown: npt.ArrayLike,
    known_counts: Counts,
    unknown_counts: Counts,
) -> Float64Array:
    """Return the area under the open-set classification rate curve of every bootstrap resample.

    In its tie-correct closed form: the sum over correctly classified known x of
    #{u: s(u) < s(x)} + #{u: s(u) = s(x)} / 2, divided by the number of known times the number of
    unknown images. Never above the AUROC of known against unknown, nor above the closed-set
    accuracy. See `resampled_aucs`.

    Args:
        known: Scores of the images of known classes, shape (K,), no NaN.
        correct: Whether each of them was given its right class, shape (K,).
        unknown: Scores of the images of unknown classes, shape (U,), no NaN.
        known_counts: Shape (resamples, K).
        unknown_counts: Shape (resamples, U).

    Returns:
        Fractions, 0..1, shape (resamples,).

    Raises:
        ValueError: A class is empty, not one-dimensional, or holds NaN.
    """
    known_scores, unknown_scores = _scores("known", known), _scores("unknown", unknown)
    order = np.argsort(unknown_scores)
    below, upto = (
        np.searchsorted(unknown_scores[order], known_scores, side) for side in ("left", "right")
    )
    cumulative = np.zeros((len(unknown_counts), len(order) + 1))  # (resamples, U + 1)
    np.cumsum(unknown_counts[:, order], axis=1, out=cumulative[:, 1:])
    wins = 0.5 * (cumulative.take(below, axis=1) + cumulative.take(upto, axis=1))
    won = np.einsum("rk,rk->r", known_counts * correct, wins) / cumulative[:, -1]
    oscrs: Float64Array = won / known_counts.sum(axis=1)
    return oscrs


def bootstrap_interval(samples: npt.ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a statistic.

    Args:
        samples: The statistic in every resample, shape (resamples,), no NaN.
        level: Share of the resamples that the interval covers, 0..1 exclusive.

    Raises:
        ValueError: There are no samples, one is NaN, or `level` is out of range.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, but got {level}")
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(_scores("samples", samples), [tail, 1.0 - tail])
    return float(low), float(high)


def expected_calibration_error(
    confidence: npt.ArrayLike,
    correct: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    *,
    bins: int = BINS,
) -> float:
    """Return the mean distance of accuracy and confidence over bins of equal width.

    Guo et al., "On calibration of modern neural networks", 2017, equation 3.

    Args:
        confidence: Probability of the answer, shape (N,), 0..1.
        correct: Whether it is right, shape (N,), bool.
        weights: How much each query counts, shape (N,); None counts all alike.
        bins: Number of bins.

    Returns:
        0..1.

    Raises:
        ValueError: There is no query, or a confidence is not a probability.
    """
    shares, weighed = _checked(confidence, weights)
    right = np.asarray(correct, np.float64)
    # Right-closed bins, as in the reference code; a confidence of 0 falls into the first.
    places = np.clip(np.ceil(shares * bins).astype(np.intp) - 1, 0, bins - 1)
    gaps = np.bincount(places, weighed * (right - shares), minlength=bins)
    return float(np.abs(gaps).sum() / weighed.sum())


def negative_log_likelihood(
    probability: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float:
    """Return the mean of -log(probability of the true label), in nats.

    Args:
        probability: Of the true label, shape (N,), 0..1.
        weights: How much each query counts, shape (N,).

    Raises:
        ValueError: There is no query, or a value is not a probability.
    """
    shares, weighed = _checked(probability, weights)
    losses = -np.log(np.maximum(shares, np.finfo(np.float64).tiny))
    return float(weighed @ losses / weighed.sum())


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
    once = {name: np.ones((1, len(one.predicted)), np.int64) for name, one in answers.items()}
    figures = {name: float(values[0]) for name, values in resampled_figures(answers, once).items()}
    return Figures(**({"oscr": None, "auroc_unknown": None} | figures))


def resampled_figures(
    answers: Mapping[str, Answers], counts: Mapping[str, Counts]
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
        of_known, of_unknown = (
            _pooled_scores([*known.values()]),
            _pooled_scores([*unknown.values()]),
        )
        drawn_unknown = np.concatenate([counts[name] for name in unknown], axis=1)
        figures["oscr"] = PERCENT * resampled_oscrs(
            of_known, correct, of_unknown, drawn, drawn_unknown
        )
        figures["auroc_unknown"] = PERCENT * resampled_aucs(
            of_known, of_unknown, drawn, drawn_unknown
        )
    return figures


def _pooled_scores(answers: Sequence[Answers]) -> Float64Array:
    return np.concatenate([one.scores for one in answers])


def _scores(name: str, values: npt.ArrayLike) -> Float64Array:
    """Return `values` as float64, or say which class cannot be used."""
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, but got shape {scores.shape}")
    if scores.size == 0:
        raise ValueError(f"{name} is empty; at least one score is needed")
    if np.isnan(scores).any():
        raise ValueError(f"{name} holds NaN, which has no rank")
    return scores


def _checked(
    values: npt.ArrayLike, weights: npt.ArrayLike | None
) -> tuple[Float64Array, Float64Array]:
    shares = np.asarray(values, np.float64)
    if shares.ndim != 1 or not shares.size:
        raise ValueError(f"expected at least one probability in a row, got shape {shares.shape}")
    if not ((shares >= -1e-9) & (shares <= 1 + 1e-9)).all():
        raise ValueError("probabilities must lie between 0 and 1")
    weighed = np.ones(len(shares)) if weights is None else np.asarray(weights, np.float64)
    return np.clip(shares, 0.0, 1.0), weighed
