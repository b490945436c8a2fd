"""What schedulers share whose latents have unit variance at every timestep."""

from __future__ import annotations

from lineup.models.schedulers.base import Scheduler
from lineup.models.schedulers.noise_schedule import ONE, NoiseSchedule
from lineup.types import Float32Array


class VariancePreservingScheduler(Scheduler):
    """Feeds the denoiser the latents as they are, and adds noise by a schedule of alphas."""

    initial_scale = ONE
    _schedule: NoiseSchedule
    _timesteps: list[int]

    def model_input(self, latents: Float32Array, step: int) -> Float32Array:
        """Return the latents as they are."""
        return latents

    def noised(self, original: Float32Array, noise: Float32Array, step: int) -> Float32Array:
        """Return the latents of an image with the noise that they carry before a step."""
        return self._schedule.noised(original, noise, self._timesteps[step])
