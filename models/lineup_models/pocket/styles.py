"""Looks that any picture can be given, for learning to compare looks apart from contents."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from lineup_models.pocket.data import UINT8

FACTORS = (2, 3, 4, 6, 8)
PERIODS = (2, 4, 8, 16)
ENLARGEMENTS = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)


def styled(picture: UINT8, seed: int) -> UINT8:
    """Return a picture with the look number `seed`, which does not depend on the picture.

    A look is a random chain of what generators and cameras do to all their pictures alike:
    resolution and its filter, blur or sharpening, contrast and tint, a faint lattice, grain.

    Args:
        picture: uint8 (H, W, 3).
        seed: Of everything drawn.
    """
    random = np.random.default_rng(seed)
    found = picture.astype(np.float32)
    if random.random() < 0.6:
        found = _fewer_details(found, random)
    if random.random() < 0.5:
        soft = _float32(cv2.GaussianBlur(found, (0, 0), 0.5 + 2.0 * random.random()))
        found = soft if random.random() < 0.5 else found + random.random() * (found - soft)
    if random.random() < 0.6:
        found = _lattice(found, random)
    gain, offset = 1.0 + random.normal(0.0, 0.04, 3), random.normal(0.0, 2.5, 3)
    found = _float32((found - 128.0) * gain.astype(np.float32) + 128.0 + offset.astype(np.float32))
    if random.random() < 0.5:
        found += random.random() * 3.0 * random.standard_normal(found.shape, np.float32)
    return np.clip(np.rint(found), 0, 255).astype(np.uint8)


def _float32(pixels: npt.ArrayLike) -> npt.NDArray[np.float32]:
    return np.asarray(pixels, np.float32)


def _fewer_details(
    pixels: npt.NDArray[np.float32], random: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Reduce and enlarge again; mixed with what was there."""
    height, width = pixels.shape[:2]
    factor = FACTORS[int(random.integers(len(FACTORS)))]
    way = ENLARGEMENTS[int(random.integers(len(ENLARGEMENTS)))]
    small = cv2.resize(pixels, (width // factor, height // factor), interpolation=cv2.INTER_AREA)
    again = cv2.resize(small, (width, height), interpolation=way)
    share = random.uniform(0.5, 1.0)
    return _float32(share * again + (1.0 - share) * pixels)


def _lattice(
    pixels: npt.NDArray[np.float32], random: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Multiply by a faint pattern that repeats, as upsampling leaves it."""
    height, width = pixels.shape[:2]
    period = PERIODS[int(random.integers(len(PERIODS)))]
    drawn = random.standard_normal((period, period, 1), np.float32)
    pattern = 1.0 + np.float32(random.uniform(0.01, 0.05)) * drawn
    repeats = (-(-height // period), -(-width // period), 1)
    return _float32(pixels * np.tile(pattern, repeats)[:height, :width])
