"""The way from noise, or from a noised image, to the latents of an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lineup.models.denoise import Conditioning, Denoiser
from lineup.models.noise import noise_from_seed
from lineup.models.schedulers.base import Scheduler
from lineup.types import Float32Array


def sampled_latents(
    denoiser: Denoiser,
    scheduler: Scheduler,
    conditioning: Conditioning,
    seeds: Sequence[int],
    *,
    shape: tuple[int, int, int],
    start: Float32Array | None = None,
) -> Float32Array:
    """Denoise one batch of images that share everything but the seed.

    Args:
        denoiser: Of the generator.
        scheduler: Of the generator, for the number of steps.
        conditioning: Of the prompt.
        seeds: One per image.
        shape: Of one image's latents, (C, rows, columns).
        start: Latents of an image to be redrawn, shape (1, C, rows, columns); None starts from
            noise.

    Returns:
        Shape (images, C, rows, columns), float32.
    """
    noise = _noise(seeds, shape, stream=0)
    if start is None:
        latents: Float32Array = noise * scheduler.initial_scale
    else:
        latents = scheduler.noised(start, noise, scheduler.first_step)
    for step in range(scheduler.first_step, len(scheduler.timesteps)):
        prediction = denoiser.predict(
            scheduler.model_input(latents, step), scheduler.timesteps[step], conditioning
        )
        added = _noise(seeds, shape, stream=step + 1) if scheduler.needs_noise(step) else None
        latents = scheduler.previous(prediction, latents, step, added)
    return latents


def _noise(seeds: Sequence[int], shape: tuple[int, int, int], *, stream: int) -> Float32Array:
    return np.stack([noise_from_seed(seed, shape, stream=stream) for seed in seeds])
