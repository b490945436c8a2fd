"""Multinomial logistic regression with a ridge, every class of equal weight, by L-BFGS.

The loss is convex, and strictly so up to a shift of all biases, which never leaves the start.
Curvature is learnt from the last steps (Nocedal and Wright, Numerical Optimization, 2nd edition,
algorithm 7.4), so nothing of the size of the data squared or of the dimension squared is formed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lineup.classifier import log_softmax

Float64Array = npt.NDArray[np.float64]

MEMORY = 12
MAX_STEPS = 1000
GRADIENT_TOLERANCE = 1e-6
"""The largest partial derivative at which the fit ends; at the start it is about 0.01 to 0.1."""
SUFFICIENT_DECREASE = 1e-4
SMALLEST_STEP = 1e-10


@dataclass(frozen=True, slots=True, eq=False)
class LinearFit:
    """What was fitted.

    Attributes:
        weights: Shape (classes, dimension), float64.
        bias: Shape (classes,), float64.
        loss: Mean over classes of the mean log loss, with the ridge.
        steps: How many steps it took.
        converged: False when the steps ran out first.
    """

    weights: Float64Array
    bias: Float64Array
    loss: float
    steps: int
    converged: bool


def fit_logistic(
    rows: Float64Array, labels: npt.NDArray[np.intp], classes: int, *, ridge: float
) -> LinearFit:
    """Minimise the class-balanced log loss plus ridge / 2 times the squared weights.

    Args:
        rows: Shape (N, D), float64.
        labels: Class of each row, shape (N,), 0..classes - 1; every class occurs.
        classes: Number of classes, at least 2.
        ridge: Above 0. Biases are not penalised.
    """
    counts = np.bincount(labels, minlength=classes)
    row_weights = 1.0 / (classes * counts[labels])  # sum to 1, and to 1 / classes in each class
    columns = rows.shape[1]

    def loss_and_gradient(parameters: Float64Array) -> tuple[float, Float64Array]:
        matrix = parameters.reshape(classes, columns + 1)
        weights, bias = matrix[:, :columns], matrix[:, columns]
        logs = log_softmax(rows @ weights.T + bias)
        picked = logs[np.arange(len(rows)), labels]
        loss = -row_weights @ picked + ridge / 2 * np.square(weights).sum()
        errors = np.exp(logs)
        errors[np.arange(len(rows)), labels] -= 1.0
        errors *= row_weights[:, None]
        gradient = np.empty_like(matrix)
        gradient[:, :columns] = errors.T @ rows + ridge * weights
        gradient[:, columns] = errors.sum(axis=0)
        return float(loss), gradient.ravel()

    start = np.zeros(classes * (columns + 1))
    parameters, loss, steps, converged = _minimum(loss_and_gradient, start)
    matrix = parameters.reshape(classes, columns + 1)
    return LinearFit(matrix[:, :columns], matrix[:, columns], loss, steps, converged)


def _minimum(
    function: Callable[[Float64Array], tuple[float, Float64Array]], start: Float64Array
) -> tuple[Float64Array, float, int, bool]:
    """Return the minimum of a convex function, its value, the steps, and whether it was reached."""
    point = start
    value, gradient = function(point)
    moves: deque[tuple[Float64Array, Float64Array]] = deque(maxlen=MEMORY)
    for step in range(MAX_STEPS):
        if np.abs(gradient).max() <= GRADIENT_TOLERANCE:
            return point, value, step, True
        direction = _direction(gradient, moves)
        slope = float(gradient @ direction)
        length = 1.0
        new_value, new_gradient = function(point + direction)
        while new_value > value + SUFFICIENT_DECREASE * length * slope:
            length /= 2
            if length < SMALLEST_STEP:  # rounding is all that is left to gain
                return point, value, step, False
            new_value, new_gradient = function(point + length * direction)
        moves.append((length * direction, new_gradient - gradient))
        point = point + length * direction
        value, gradient = new_value, new_gradient
    return point, value, MAX_STEPS, False


def _direction(
    gradient: Float64Array, moves: deque[tuple[Float64Array, Float64Array]]
) -> Float64Array:
    """Return minus the inverse curvature, as far as the moves show it, times the gradient."""
    usable = [(move, change) for move, change in moves if move @ change > 0]
    direction = -gradient
    shares = []
    for move, change in reversed(usable):
        share = (move @ direction) / (move @ change)
        direction = direction - share * change
        shares.append(share)
    if usable:
        move, change = usable[-1]
        direction = direction * ((move @ change) / (change @ change))
    for (move, change), share in zip(usable, reversed(shares), strict=True):
        direction = direction + (share - (change @ direction) / (move @ change)) * move
    return np.asarray(direction)
