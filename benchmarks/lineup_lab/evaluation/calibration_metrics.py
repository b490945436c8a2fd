"""How far probabilities can be taken at their word: calibration error and log loss.

A verdict's posterior holds under its prior, so the queries are weighed as the prior weighs the
origins; otherwise the figures would measure how a test folder was filled.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lineup_lab.fitting.calibration import HeldOut
from lineup_lab.fitting.table import ScoreTable, label_weights

Float64Array = npt.NDArray[np.float64]

BINS = 15
PERCENT = 100.0


def held_out_figures(table: ScoreTable, held_out: HeldOut) -> dict[str, float]:
    """Return how good a calibration is on queries that it was not fitted on.

    Args:
        table: The calibration queries.
        held_out: Posteriors of those that have a set of evidences.

    Returns:
        `accuracy` in percent among the candidates' queries (NaN without any), `ece` 0..1 and `nll`
        in nats with "none of the candidates" as one answer, and `queries`.
    """
    part = table.rows(held_out.rows)
    posterior = np.exp(held_out.log_posterior)
    candidates = len(table.candidates)
    best = posterior[:, :candidates].argmax(axis=1)
    known = part.truth < candidates
    answers = np.column_stack([posterior[:, :candidates], posterior[:, candidates:].sum(axis=1)])
    truth = np.minimum(part.truth, candidates)
    weights = label_weights(part)
    return {
        "accuracy": PERCENT * float((best == part.truth)[known].mean()) if known.any() else np.nan,
        "ece": expected_calibration_error(
            answers.max(axis=1), answers.argmax(axis=1) == truth, weights
        ),
        "nll": negative_log_likelihood(answers[np.arange(len(answers)), truth], weights),
        "queries": float(len(part)),
    }


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
