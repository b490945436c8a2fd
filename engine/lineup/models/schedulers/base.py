"""The contract of a scheduler: how a latent moves from one timestep to the next."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from lineup.types import Float32Array


class Scheduler(ABC):
    """The way from noise to an image in a fixed number of steps; holds no state of a run.

    Step k feeds `model_input(latents, k)` and `timesteps[k]` to the denoiser and its prediction to
    `previous`. Every image of a batch is treated alike and alone.

    Attributes:
        timesteps: Shape (steps,), float32, falling: what the denoiser is told.
        first_step: Where the way starts; above 0 when an image is redrawn.
        initial_scale: Standard deviation of the noise that a way from noise starts with.
    """

    timesteps: Float32Array
    first_step: int
    initial_scale: np.float32

    @abstractmethod
    def model_input(self, latents: Float32Array, step: int) -> Float32Array:
        """Return what the denoiser is fed at a step, the shape of the latents."""

    @abstractmethod
    def previous(
        self,
        prediction: Float32Array,
        latents: Float32Array,
        step: int,
        noise: Float32Array | None = None,
    ) -> Float32Array:
        """Return the latents after a step.

        Args:
            prediction: Output of the denoiser, float32, the shape of the latents.
            latents: Before the step, float32.
            step: Index into `timesteps`.
            noise: Standard normal, the shape of the latents, where `needs_noise`.
        """

    @abstractmethod
    def noised(self, original: Float32Array, noise: Float32Array, step: int) -> Float32Array:
        """Return the latents of an image with the noise that they carry before a step.

        Args:
            original: Latents of an image, float32.
            noise: Standard normal, the same shape.
            step: Index into `timesteps`.
        """

    def needs_noise(self, step: int) -> bool:
        """Return whether a step adds fresh noise; most schedulers never do."""
        return False


def fresh(noise: Float32Array | None) -> Float32Array:
    """Return the noise of a step that needs it.

    Raises:
        ValueError: There is none.
    """
    if noise is None:
        raise ValueError("this step adds noise and was given none")
    return noise
