"""Images drawn in code that a graph is compared on: easy ones, hard ones, and natural-like ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lineup.types import RgbTiles

Float64Array = npt.NDArray[np.float64]


def probe_tiles(size_px: int, seed: int = 0) -> RgbTiles:
    """Draw tiles that span what a fingerprint meets.

    White noise, the full range in a checkerboard and in single pixels, slow ramps, a soft
    photograph-like scene with sensor noise, one with hard edges, a JPEG-like grid of 8 px blocks,
    and dim noise of two grey levels.

    Args:
        size_px: Side of a tile.
        seed: Of the random parts.

    Returns:
        (8, size, size, 3), uint8.
    """
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:size_px, 0:size_px].astype(np.float64)
    full = random.uniform(0, 256, (size_px, size_px, 3))
    checker = np.broadcast_to(((x + y) % 2 * 255)[..., None], full.shape)
    specks = np.where(random.uniform(size=full.shape) < 0.01, 255.0, 20.0)
    ramp = np.stack([x, y, x + y], axis=2) * (255.0 / (2 * size_px))
    scene = _natural(random, size_px)
    edges = np.where(scene > np.median(scene, axis=(0, 1)), 200.0, 60.0)
    blocks = scene[(y // 8 * 8).astype(int), (x // 8 * 8).astype(int)]
    dim = 128 + random.integers(0, 2, full.shape)
    drawn = [full, checker, specks, ramp, _with_noise(random, scene), edges, blocks, dim]
    return np.stack([np.clip(np.rint(image), 0, 255).astype(np.uint8) for image in drawn])


def _natural(random: np.random.Generator, size_px: int) -> Float64Array:
    """Draw noise whose amplitude falls as 1 / frequency, as in photographs; correlated colours."""
    frequency = np.hypot(np.fft.fftfreq(size_px)[:, None], np.fft.fftfreq(size_px)[None, :])
    fall = 1.0 / np.maximum(frequency, 1.0 / size_px)
    fields = random.standard_normal((4, size_px, size_px))
    smooth = np.fft.ifft2(np.fft.fft2(fields) * fall).real
    smooth /= smooth.std(axis=(1, 2), keepdims=True)
    channels = [0.9 * smooth[0] + 0.4 * smooth[1 + channel] for channel in range(3)]
    return np.clip(120.0 + 50.0 * np.stack(channels, axis=2), 0, 255)


def _with_noise(random: np.random.Generator, scene: Float64Array) -> Float64Array:
    return scene + random.normal(0.0, 2.0, scene.shape)
