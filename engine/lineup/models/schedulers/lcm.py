"""Multi-step sampling of latent consistency models (2310.04378), algorithm 3."""

from __future__ import annotations

import numpy as np

from lineup.models.schedulers.base import fresh
from lineup.models.schedulers.consistency import consistency_timesteps
from lineup.models.schedulers.constants import Constants
from lineup.models.schedulers.noise_schedule import noise_schedule_from_constants
from lineup.models.schedulers.variance_preserving import VariancePreservingScheduler
from lineup.types import Float32Array

_SIGMA_DATA = np.float32(0.5)
"""Standard deviation of the data in the boundary conditions: 2310.04378, section 3."""


class LcmScheduler(VariancePreservingScheduler):
    """diffusers' LCMScheduler; also of LCM-LoRA.

    Args:
        constants: Of the scheduler.
        steps: Number of steps from noise to image.
        strength: 0..1, how much of an image is redrawn. The steps are spread over that share of
            the timesteps, so that all of them are taken.

    Raises:
        BundleFormatError: A constant is absent or wrong; names it.
        UsageError: The number of steps cannot be taken.
    """

    def __init__(self, constants: Constants, steps: int, strength: float = 1.0) -> None:
        self._schedule = noise_schedule_from_constants(constants)
        self._timesteps = consistency_timesteps(
            constants, self._schedule.timesteps, steps, strength
        )
        self._timestep_scaling = np.float32(constants.number("timestep_scaling", 10.0))
        clips = constants.flag("clip_sample", False)
        self._clip_range = constants.number("clip_sample_range", 1.0) if clips else None
        self.timesteps = np.array(self._timesteps, np.float32)
        self.first_step = 0

    def needs_noise(self, step: int) -> bool:
        """Return whether a step adds fresh noise: all but the last do."""
        return step < len(self._timesteps) - 1

    def previous(
        self,
        prediction: Float32Array,
        latents: Float32Array,
        step: int,
        noise: Float32Array | None = None,
    ) -> Float32Array:
        """Return the latents after a step: denoised at once, then noised for the next timestep."""
        timestep = self._timesteps[step]
        original, _ = self._schedule.original_and_noise(prediction, latents, timestep)
        if self._clip_range is not None:
            original = np.clip(original, -self._clip_range, self._clip_range)
        skip, out = self._boundary(timestep)
        denoised: Float32Array = out * original + skip * latents
        if not self.needs_noise(step):
            return denoised
        return self._schedule.noised(denoised, fresh(noise), self._timesteps[step + 1])

    def _boundary(self, timestep: int) -> tuple[np.float32, np.float32]:
        """Return c_skip and c_out: consistency models (2303.01469), appendix C."""
        scaled = np.float32(timestep) * self._timestep_scaling
        variance = _SIGMA_DATA * _SIGMA_DATA
        total = scaled * scaled + variance
        return variance / total, scaled / np.sqrt(total)
