"""Trajectory consistency sampling (2402.19159), algorithm 4; also of Hyper-SD's one-step LoRA."""

from __future__ import annotations

import math

import numpy as np

from lineup.errors import BundleFormatError
from lineup.models.schedulers.base import fresh
from lineup.models.schedulers.consistency import consistency_timesteps
from lineup.models.schedulers.constants import Constants
from lineup.models.schedulers.noise_schedule import ONE, noise_schedule_from_constants
from lineup.models.schedulers.spacing import first_step_from_strength
from lineup.models.schedulers.variance_preserving import VariancePreservingScheduler
from lineup.types import Float32Array


class TcdScheduler(VariancePreservingScheduler):
    """diffusers' TCDScheduler.

    Args:
        constants: Of the scheduler; `eta` (0..1, gamma in the paper) is the share of fresh noise.
        steps: Number of steps from noise to image.
        strength: 0..1, how much of an image is redrawn; 1 starts from noise.

    Raises:
        BundleFormatError: A constant is absent or wrong; names it.
        UsageError: The number of steps cannot be taken.
    """

    def __init__(self, constants: Constants, steps: int, strength: float = 1.0) -> None:
        self._schedule = noise_schedule_from_constants(constants)
        self._timesteps = consistency_timesteps(constants, self._schedule.timesteps, steps)
        self._eta = constants.number("eta")
        if not 0 <= self._eta <= 1:
            raise BundleFormatError(f"scheduler.eta: {self._eta:g} is not between 0 and 1")
        self.timesteps = np.array(self._timesteps, np.float32)
        self.first_step = first_step_from_strength(steps, strength)

    def needs_noise(self, step: int) -> bool:
        """Return whether a step adds fresh noise: all but the last do, unless eta is 0."""
        return self._eta > 0 and step < len(self._timesteps) - 1

    def previous(
        self,
        prediction: Float32Array,
        latents: Float32Array,
        step: int,
        noise: Float32Array | None = None,
    ) -> Float32Array:
        """Return the latents after a step: down to an intermediate timestep, then up with noise."""
        timestep = self._timesteps[step]
        is_last = step == len(self._timesteps) - 1
        target = 0 if is_last else self._timesteps[step + 1]
        # In fp32 as in the reference: the product decides on which side of an integer it falls.
        between = math.floor(np.float32(1 - self._eta) * np.float32(target))
        original, epsilon = self._schedule.original_and_noise(prediction, latents, timestep)
        moved = self._schedule.noised(original, epsilon, between)
        if not self.needs_noise(step):
            return moved
        ratio = self._schedule.alpha(target) / self._schedule.alpha(between)
        noisy: Float32Array = np.sqrt(ratio) * moved + np.sqrt(ONE - ratio) * fresh(noise)
        return noisy
