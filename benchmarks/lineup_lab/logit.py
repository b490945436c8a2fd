"""Conditional logit with a ridge and signs.

Every query chooses one of its labels with probability softmax(offsets + design @ parameters). Two
labels, one of them with an empty design, are logistic regression. The loss is strictly convex
because of the ridge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import Bounds, minimize
from scipy.special import log_softmax

from lineup.types import Float64Array

MAX_STEPS = 1000
LOSS_TOLERANCE = 1e-15
GRADIENT_TOLERANCE = 1e-9
"""Tight, so that a fit does not depend on where it started from."""


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
    rows = np.arange(len(choices.truth))
    picked = choices.design[rows, choices.truth]  # (N, P)

    def loss_and_gradient(parameters: Float64Array) -> tuple[float, Float64Array]:
        logs = log_softmax(choices.offsets + choices.design @ parameters, axis=1)
        away = parameters - ridge.centre
        loss = ridge.strength @ np.square(away) / 2 - choices.weights @ logs[rows, choices.truth]
        mean = np.einsum("nl,nlp->np", np.exp(logs), choices.design)
        return float(loss), choices.weights @ (mean - picked) + ridge.strength * away

    lowest = np.where(ridge.nonnegative, 0.0, -np.inf)
    found = minimize(
        loss_and_gradient,
        np.maximum(ridge.centre, lowest),
        method="L-BFGS-B",
        jac=True,
        bounds=Bounds(lowest, np.inf),
        options={"ftol": LOSS_TOLERANCE, "gtol": GRADIENT_TOLERANCE, "maxiter": MAX_STEPS},
    )
    return np.asarray(found.x, np.float64)
