"""Conditional logit with a ridge and signs, by projected Newton steps.

Every query chooses one of its labels with probability softmax(offsets + design @ parameters). Two
labels, one of them with an empty design, are logistic regression. The loss is strictly convex
because of the ridge. Parameters that must not fall below zero are held there while the gradient
pushes them outwards (Bertsekas, "Projected Newton methods for optimization problems with simple
constraints", 1982).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]

MAX_STEPS = 100
TOLERANCE = 1e-9
"""Largest change of a parameter at which the fit ends."""
SMALLEST_STEP = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Ridge:
    """What the parameters are drawn to, and which may not be negative.

    Attributes:
        centre: Values where the data say nothing, shape (P,).
        strength: How many queries of unit information each centre counts for, shape (P,), above 0.
        nonnegative: Whether a parameter is kept at 0 or above, shape (P,), bool.
    """

    centre: Float64Array
    strength: Float64Array
    nonnegative: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Choices:
    """Queries, their labels, and what speaks for each label.

    Attributes:
        design: Shape (N, L, P), finite.
        offsets: Log odds that are not fitted, shape (N, L); -inf takes a label out of a query.
        truth: Label of each query, shape (N,), 0..L - 1.
        weights: How much each query counts, shape (N,), 0 or above.
    """

    design: Float64Array
    offsets: Float64Array
    truth: npt.NDArray[np.intp]
    weights: Float64Array


def fit_choices(choices: Choices, ridge: Ridge) -> Float64Array:
    """Minimise the weighted log loss plus strength / 2 * (parameter - centre)**2.

    Returns:
        The parameters, shape (P,), float64.
    """
    lowest = np.where(ridge.nonnegative, 0.0, -np.inf)
    parameters = np.maximum(ridge.centre, lowest)
    value = _loss(choices, ridge, parameters)
    for _ in range(MAX_STEPS):
        gradient, curvature = _derivatives(choices, ridge, parameters)
        step = _projected_step(parameters, gradient, curvature, lowest)
        length = 1.0
        moved = np.maximum(parameters + step, lowest)
        new_value = _loss(choices, ridge, moved)
        # A full step overshoots where the softmax is flat.
        while new_value > value and length > SMALLEST_STEP:
            length /= 2
            moved = np.maximum(parameters + length * step, lowest)
            new_value = _loss(choices, ridge, moved)
        if new_value > value:  # rounding is all that is left to gain
            break
        change = float(np.abs(moved - parameters).max(initial=0.0))
        parameters, value = moved, new_value
        if change <= TOLERANCE:
            break
    return parameters


def log_probabilities(
    design: Float64Array, offsets: Float64Array, parameters: Float64Array
) -> Float64Array:
    """Return log probabilities of the labels, shape (N, L); -inf for a label taken out."""
    logits = offsets + design @ parameters
    logits = logits - logits.max(axis=1, keepdims=True)
    logs: Float64Array = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logs


def _loss(choices: Choices, ridge: Ridge, parameters: Float64Array) -> float:
    logs = log_probabilities(choices.design, choices.offsets, parameters)
    picked = logs[np.arange(len(logs)), choices.truth]
    penalty = ridge.strength @ np.square(parameters - ridge.centre) / 2
    return float(penalty - choices.weights @ picked)


def _derivatives(
    choices: Choices, ridge: Ridge, parameters: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Return gradient (P,) and curvature (P, P) of the loss."""
    shares = np.exp(log_probabilities(choices.design, choices.offsets, parameters))
    mean = np.einsum("nl,nlp->np", shares, choices.design)
    picked = choices.design[np.arange(len(shares)), choices.truth]
    gradient = choices.weights @ (mean - picked) + ridge.strength * (parameters - ridge.centre)
    weighted = choices.weights[:, None] * shares
    second = np.einsum("nl,nlp,nlq->pq", weighted, choices.design, choices.design, optimize=True)
    first = np.einsum("n,np,nq->pq", choices.weights, mean, mean, optimize=True)
    return gradient, second - first + np.diag(ridge.strength)


def _projected_step(
    parameters: Float64Array,
    gradient: Float64Array,
    curvature: Float64Array,
    lowest: Float64Array,
) -> Float64Array:
    """Return the Newton step of the parameters that are free to move; the others stay."""
    free = ~((parameters <= lowest) & (gradient > 0))
    step = np.zeros_like(parameters)
    if free.any():
        step[free] = -np.linalg.solve(curvature[np.ix_(free, free)], gradient[free])
    return step
