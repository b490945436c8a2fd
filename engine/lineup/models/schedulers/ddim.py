"""DDIM without added noise (2010.02502), equation 12 with sigma = 0."""

from __future__ import annotations

import numpy as np

from lineup.models.schedulers.constants import Constants
from lineup.models.schedulers.noise_schedule import ONE, noise_schedule_from_constants
from lineup.models.schedulers.spacing import (
    TimestepSpacing,
    first_step_from_strength,
    spaced_timesteps,
)
from lineup.models.schedulers.variance_preserving import VariancePreservingScheduler
from lineup.types import Float32Array


class DdimScheduler(VariancePreservingScheduler):
    """diffusers' DDIMScheduler at eta 0.

    Args:
        constants: Of the scheduler.
        steps: Number of steps from noise to image.
        strength: 0..1, how much of an image is redrawn; 1 starts from noise.

    Raises:
        BundleFormatError: A constant is absent or wrong; names it.
        UsageError: The number of steps cannot be taken.
    """

    def __init__(self, constants: Constants, steps: int, strength: float = 1.0) -> None:
        self._schedule = noise_schedule_from_constants(constants)
        train_timesteps = self._schedule.timesteps
        spacing = constants.choice("timestep_spacing", TimestepSpacing)
        timesteps = spaced_timesteps(spacing, train_timesteps, steps, constants)
        self._timesteps: list[int] = timesteps.round().astype(int).tolist()
        self._stride = train_timesteps // steps
        self._final_alpha = ONE if constants.flag("set_alpha_to_one") else self._schedule.alpha(0)
        clips = constants.flag("clip_sample")
        self._clip_range = constants.number("clip_sample_range", 1.0) if clips else None
        self.timesteps = np.array(self._timesteps, np.float32)
        self.first_step = first_step_from_strength(steps, strength)

    def previous(
        self,
        prediction: Float32Array,
        latents: Float32Array,
        step: int,
        noise: Float32Array | None = None,
    ) -> Float32Array:
        """Return the latents after a step."""
        timestep = self._timesteps[step]
        original, epsilon = self._schedule.original_and_noise(prediction, latents, timestep)
        if self._clip_range is not None:
            original = np.clip(original, -self._clip_range, self._clip_range)
        target = timestep - self._stride
        alpha = self._schedule.alpha(target) if target >= 0 else self._final_alpha
        moved: Float32Array = np.sqrt(alpha) * original + np.sqrt(ONE - alpha) * epsilon
        return moved
