"""From noise to latents: evaluations of the denoiser, guided where that is asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lineup.bundles.manifest import TensorSpec
from lineup.errors import BundleFormatError, UsageError
from lineup.models.components import Components
from lineup.models.noise import noise_from_seed
from lineup.models.schedulers.base import Scheduler
from lineup.models.text import TextStates
from lineup.types import AnyArray, Float32Array

UNET = "unet"
"""Role of the denoiser's graph."""

_EMBEDDED_GUIDANCE = "guidance_embedding"


@dataclass(frozen=True, slots=True, eq=False)
class Conditioning:
    """What the denoiser is told besides the latents.

    Attributes:
        positive: States of one prompt.
        negative: States of the prompt to keep away from; None for one evaluation without guidance.
        guidance: Guidance scale; 1 is none.
        width_px: Of the image.
        height_px: Of the image.
    """

    positive: TextStates
    negative: TextStates | None
    guidance: float
    width_px: int
    height_px: int


def needs_negative(components: Components, guidance: float) -> bool:
    """Return whether a guidance scale takes a second evaluation, as diffusers decides it.

    It does not where the scale is an input of the graph: distilled into the model, as in LCM.
    """
    return guidance > 1 and _EMBEDDED_GUIDANCE not in components.inputs(UNET)


def _prediction(
    components: Components, latents: Float32Array, timestep: np.float32, conditioning: Conditioning
) -> Float32Array:
    """Run the denoiser on a batch that shares prompt and timestep.

    Classifier-free guidance (2207.12598), in the form of Imagen (2205.11487), equation 2. Latents
    and the prediction have the shape (images, C, rows, columns), float32.
    """
    negative = conditioning.negative
    parts = [conditioning.positive] if negative is None else [negative, conditioning.positive]
    feeds = _feeds(components.inputs(UNET), latents, timestep, parts, conditioning)
    prediction: Float32Array = components.run(UNET, feeds)["prediction"]
    if negative is None:
        return prediction
    away, towards = np.split(prediction, 2)
    guided: Float32Array = away + np.float32(conditioning.guidance) * (towards - away)
    return guided


def _feeds(
    inputs: dict[str, TensorSpec],
    latents: Float32Array,
    timestep: np.float32,
    parts: list[TextStates],
    conditioning: Conditioning,
) -> dict[str, AnyArray]:
    """Return the graph's inputs: the latents once per part, parts one after the other."""
    images = len(latents)
    rows = images * len(parts)
    feeds: dict[str, AnyArray] = {
        "latents": np.concatenate([latents] * len(parts)),
        "timestep": np.full(rows, timestep, np.float32),
        "text_states": _repeated([part.states for part in parts], images),
    }
    if "pooled" in inputs:
        feeds["pooled"] = _repeated([_pooled(part) for part in parts], images)
    if "time_ids" in inputs:
        size = (conditioning.height_px, conditioning.width_px)
        feeds["time_ids"] = np.tile(np.array([*size, 0, 0, *size], np.float32), (rows, 1))
    if _EMBEDDED_GUIDANCE in inputs:
        width = int(inputs[_EMBEDDED_GUIDANCE].shape[-1])
        embedding = guidance_embedding(conditioning.guidance, width)
        feeds[_EMBEDDED_GUIDANCE] = np.tile(embedding, (rows, 1))
    return feeds


def sampled_latents(
    components: Components,
    scheduler: Scheduler,
    conditioning: Conditioning,
    seeds: Sequence[int],
    *,
    shape: tuple[int, int, int],
    start: Float32Array | None = None,
) -> Float32Array:
    """Denoise one batch of images that share everything but the seed.

    Args:
        components: Of the generator.
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
        fed = scheduler.model_input(latents, step)
        prediction = _prediction(components, fed, scheduler.timesteps[step], conditioning)
        added = _noise(seeds, shape, stream=step + 1) if scheduler.needs_noise(step) else None
        latents = scheduler.previous(prediction, latents, step, added)
    return latents


def _noise(seeds: Sequence[int], shape: tuple[int, int, int], *, stream: int) -> Float32Array:
    return np.stack([noise_from_seed(seed, shape, stream=stream) for seed in seeds])


def guidance_embedding(guidance: float, width: int) -> Float32Array:
    """Return the sinusoids of a guidance scale, as in LCM (2310.04378) and diffusers.

    Args:
        guidance: Guidance scale in the form of Imagen; 1 is none.
        width: Even.

    Returns:
        Shape (width,), float32: sines, then cosines.
    """
    half = width // 2
    rate = np.float32(math.log(10000.0) / (half - 1))
    angles = np.float32((guidance - 1) * 1000.0) * np.exp(-np.arange(half, dtype=np.float32) * rate)
    return np.concatenate([np.sin(angles), np.cos(angles)]).astype(np.float32)


def check_latent_size(components: Components, rows: int, columns: int, factor: int) -> None:
    """Check that the denoiser takes latents of a size.

    Raises:
        UsageError: The graph was exported for one other size.
    """
    fixed = components.inputs(UNET)["latents"].shape[2:]
    for length, wanted in zip((rows, columns), fixed, strict=True):
        if isinstance(wanted, int) and wanted != length:
            sides = [f"{side * factor}" if isinstance(side, int) else "any" for side in fixed]
            raise UsageError(
                f"This generator's graph is fixed at {sides[1]}x{sides[0]} pixels, but "
                f"{columns * factor}x{rows * factor} were asked for.",
                hint="Leave --width and --height away.",
            )


def _repeated(parts: list[Float32Array], images: int) -> Float32Array:
    return np.repeat(np.concatenate(parts), images, axis=0)


def _pooled(part: TextStates) -> Float32Array:
    if part.pooled is None:
        raise BundleFormatError(
            "The denoiser takes a pooled text vector, but no text encoder puts one out.",
            hint="Export the bundle again.",
        )
    return part.pooled
