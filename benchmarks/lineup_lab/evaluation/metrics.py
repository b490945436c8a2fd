"""Metrics over scores: plain functions of arrays, tie-correct, in float64.

Scores are "higher means more like it". Ties count one half, as in the Mann-Whitney statistic, so
that methods with few distinct scores (nearest-neighbour votes, saturated softmax) get the value
that random tie-breaking would give on average.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]


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
    positive_scores = _scores("positives", positives)
    negative_scores = np.sort(_scores("negatives", negatives))
    return float(_share_below(positive_scores, negative_scores).mean())


def oscr(known: npt.ArrayLike, correct: npt.ArrayLike, unknown: npt.ArrayLike) -> float:
    """Return the area under the open-set classification rate curve, in its tie-correct closed form.

    OSCR = sum over correctly classified known x of (#{u: s(u) < s(x)} + #{u: s(u) = s(x)} / 2),
    divided by the number of known times the number of unknown images. Never above the AUROC of
    known against unknown, nor above the closed-set accuracy.

    Args:
        known: Scores of the images of known classes, shape (K,), no NaN.
        correct: Whether each of them was given its right class, shape (K,), bool.
        unknown: Scores of the images of unknown classes, shape (U,), no NaN.

    Returns:
        A fraction, 0..1.

    Raises:
        ValueError: A class is empty or holds NaN, or `correct` does not fit `known`.
    """
    known_scores = _scores("known", known)
    unknown_scores = np.sort(_scores("unknown", unknown))
    is_correct = np.asarray(correct)
    if is_correct.dtype != np.bool_ or is_correct.shape != known_scores.shape:
        raise ValueError(
            f"correct must be bool of shape {known_scores.shape}, "
            f"but got {is_correct.dtype} of shape {is_correct.shape}"
        )
    return float(np.mean(_share_below(known_scores, unknown_scores) * is_correct))


def resample_counts(rng: np.random.Generator, size: int, resamples: int) -> npt.NDArray[np.int64]:
    """Draw bootstrap resamples of `size` items as how often each item was drawn.

    Args:
        rng: Source of randomness.
        size: Number of items, at least 1.
        resamples: Number of resamples.

    Returns:
        Counts, shape (resamples, size); every row sums to `size`.
    """
    return rng.multinomial(size, np.full(size, 1.0 / size), size=resamples)


def resampled_aucs(
    positives: npt.ArrayLike,
    negatives: npt.ArrayLike,
    positive_counts: npt.NDArray[np.int64],
    negative_counts: npt.NDArray[np.int64],
) -> Float64Array:
    """Return the AUC of every bootstrap resample, sorting the scores only once.

    A resample changes how often a score counts, not where it ranks: the cumulative counts of the
    sorted negatives say how many of them lie below each positive, in every resample at once.

    Args:
        positives: Scores of the positive class, shape (P,), no NaN.
        negatives: Scores of the negative class, shape (N,), no NaN.
        positive_counts: Draws of each positive, shape (resamples, P); no row is all zero.
        negative_counts: Draws of each negative, shape (resamples, N); no row is all zero.

    Returns:
        Fractions 0..1, shape (resamples,), float64.

    Raises:
        ValueError: A class is empty, not one-dimensional, or holds NaN.
    """
    won = _resampled_wins(
        _scores("positives", positives),
        _scores("negatives", negatives),
        positive_counts,
        negative_counts,
    )
    aucs: Float64Array = won / positive_counts.sum(axis=1)
    return aucs


def resampled_oscrs(
    known: npt.ArrayLike,
    correct: npt.NDArray[np.bool_],
    unknown: npt.ArrayLike,
    known_counts: npt.NDArray[np.int64],
    unknown_counts: npt.NDArray[np.int64],
) -> Float64Array:
    """Return the OSCR of every bootstrap resample; see `oscr` and `resampled_aucs`.

    Args:
        known: Scores of the images of known classes, shape (K,), no NaN.
        correct: Whether each of them was given its right class, shape (K,), bool.
        unknown: Scores of the images of unknown classes, shape (U,), no NaN.
        known_counts: Draws of each known image, shape (resamples, K); no row is all zero.
        unknown_counts: Draws of each unknown image, shape (resamples, U); no row is all zero.

    Returns:
        Fractions 0..1, shape (resamples,), float64.

    Raises:
        ValueError: A class is empty, not one-dimensional, or holds NaN.
    """
    won = _resampled_wins(
        _scores("known", known),
        _scores("unknown", unknown),
        known_counts * correct,
        unknown_counts,
    )
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


def _rank_bounds(
    scores: Float64Array, sorted_others: Float64Array
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return how many of `sorted_others` are below each score, and how many are not above it."""
    return (
        np.searchsorted(sorted_others, scores, side="left"),
        np.searchsorted(sorted_others, scores, side="right"),
    )


def _resampled_wins(
    positives: Float64Array,
    negatives: Float64Array,
    positive_counts: npt.NDArray[np.int64],
    negative_counts: npt.NDArray[np.int64],
) -> Float64Array:
    """Return, per resample, the sum over drawn positives of the share of drawn negatives below."""
    order = np.argsort(negatives)
    below, upto = _rank_bounds(positives, negatives[order])
    cumulative = np.zeros((len(negative_counts), len(order) + 1))  # (resamples, N + 1)
    np.cumsum(negative_counts[:, order], axis=1, out=cumulative[:, 1:])
    wins = 0.5 * (cumulative.take(below, axis=1) + cumulative.take(upto, axis=1))
    won: Float64Array = np.einsum("rp,rp->r", positive_counts, wins) / cumulative[:, -1]
    return won


def _share_below(scores: Float64Array, sorted_others: Float64Array) -> Float64Array:
    """Return the share of `sorted_others` below each score, ties counting one half."""
    below, upto = _rank_bounds(scores, sorted_others)
    shares: Float64Array = 0.5 * (below + upto) / len(sorted_others)
    return shares
