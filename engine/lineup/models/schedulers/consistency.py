"""Timesteps of consistency models: a subset of those that the student was distilled on."""

from __future__ import annotations

import numpy as np

from lineup.errors import UsageError
from lineup.models.schedulers.constants import Constants
from lineup.models.schedulers.spacing import check_steps


def consistency_timesteps(
    constants: Constants, train_timesteps: int, steps: int, strength: float = 1.0
) -> list[int]:
    """Return the timesteps to visit, falling.

    The student was distilled on `original_inference_steps` evenly spaced timesteps (LCM,
    2310.04378, section 4.3); of the lowest `strength` of these, `steps` are taken. The constant
    `timesteps`, a list, replaces the choice when it has as many entries as there are steps:
    Hyper-SD's one-step UNet starts at 800.

    Args:
        constants: Of the scheduler.
        train_timesteps: Number of timesteps in the teacher's training.
        steps: How many to visit.
        strength: 0..1, how much of an image is redrawn.

    Raises:
        BundleFormatError: A constant is absent or wrong; names it.
        UsageError: The number of steps cannot be taken.
    """
    given = constants.integers("timesteps")
    if given is not None and len(given) == steps and strength == 1:
        return list(given)
    original_steps = constants.integer("original_inference_steps")
    check_steps(steps, original_steps)
    stride = train_timesteps // original_steps
    distilled = np.arange(1, int(original_steps * strength) + 1) * stride - 1
    if len(distilled) < steps:
        raise UsageError(
            f"A strength of {strength:g} leaves {len(distilled)} of the {original_steps} timesteps "
            f"of this generator, fewer than the {steps} steps asked for.",
            hint=f"Take fewer --steps, or a --strength of at least {steps / original_steps:.3g}.",
        )
    chosen = np.floor(np.linspace(0, len(distilled), steps, endpoint=False)).astype(int)
    timesteps: list[int] = distilled[::-1][chosen].tolist()
    return timesteps
