"""Which of the training's timesteps are visited, and from which one an image is redrawn."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from lineup.errors import UsageError
from lineup.models.schedulers.constants import Constants


class TimestepSpacing(str, Enum):
    """How timesteps are spread: 2305.08891, table 2."""

    LINSPACE = "linspace"
    LEADING = "leading"
    TRAILING = "trailing"


def spaced_timesteps(
    spacing: TimestepSpacing, train_timesteps: int, steps: int, constants: Constants
) -> npt.NDArray[Any]:
    """Return the timesteps to visit, falling, float64; only linspace gives fractions.

    Args:
        spacing: How they are spread.
        train_timesteps: Number of timesteps in training.
        steps: How many to visit.
        constants: For `steps_offset`, which leading spacing adds.

    Raises:
        UsageError: More steps than the training had timesteps.
        BundleFormatError: `steps_offset` is needed and absent.
    """
    check_steps(steps, train_timesteps)
    if spacing is TimestepSpacing.LINSPACE:
        return np.linspace(0, train_timesteps - 1, steps)[::-1]
    if spacing is TimestepSpacing.LEADING:
        ratio = train_timesteps // steps
        leading: npt.NDArray[Any] = np.arange(steps)[::-1] * float(ratio)
        return leading + constants.integer("steps_offset")
    trailing: npt.NDArray[Any] = np.arange(train_timesteps, 0, -train_timesteps / steps).round() - 1
    return trailing


def check_steps(steps: int, largest: int) -> None:
    """Check a number of steps.

    Raises:
        UsageError: It is below 1 or above the largest.
    """
    if not 1 <= steps <= largest:
        raise UsageError(
            f"{steps} steps were asked for, but this generator takes 1 to {largest}.",
            hint="Leave --steps away for the generator's own number.",
        )


def first_step_from_strength(steps: int, strength: float) -> int:
    """Return the step at which redrawing an image starts.

    Args:
        steps: Steps of the whole way from noise to image.
        strength: 0..1; 1 redraws from pure noise. As diffusers' `get_timesteps`.

    Raises:
        UsageError: No step is left to take.
    """
    taken = min(int(steps * strength), steps)
    if taken < 1:
        raise UsageError(
            f"Of {steps} steps, a strength of {strength:g} leaves none to take.",
            hint=f"Take more --steps, or a --strength of at least {1 / steps:.3g}.",
        )
    return steps - taken
