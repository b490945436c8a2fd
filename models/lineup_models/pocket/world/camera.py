"""The camera: lens, exposure, sensor noise, display curve."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from lineup.types import Float32Array, RgbImage
from lineup_models.pocket.world.frame import Frame
from lineup_models.pocket.world.planes import blurred

LEVELS = 1 << 13
"""Steps of the display curve's table; fine enough to keep every 8-bit level."""


@dataclass(frozen=True, slots=True)
class Optics:
    """One exposure.

    Attributes:
        blur_px: Standard deviation of the lens blur at 256 pixels.
        glow: Share of light that is spread widely (soft focus).
        vignette: Darkening of the corners, 0..1.
        shot_noise: Variance of the noise over the signal.
        read_noise: Standard deviation of the noise in the dark, linear.
    """

    blur_px: float
    glow: float
    vignette: float
    shot_noise: float
    read_noise: float


def optics_from_seed(soft: bool, rng: np.random.Generator) -> Optics:
    """Draw one exposure."""
    return Optics(
        blur_px=float(rng.uniform(0.8, 1.15) if soft else rng.uniform(0.3, 0.5)),
        glow=float(rng.uniform(0.3, 0.5)) if soft else 0.0,
        vignette=float(rng.uniform(0.05, 0.35)),
        shot_noise=float(rng.uniform(1.5, 5)) * 1e-4,
        read_noise=float(rng.uniform(0.8, 2.5)) * 1e-3,
    )


def photograph(
    radiance: Float32Array,
    optics: Optics,
    brightness: float,
    frame: Frame,
    rng: np.random.Generator,
) -> RgbImage:
    """Return the picture that the camera takes.

    Args:
        radiance: Linear RGB, float32 (3, size, size), 0 and above.
        optics: The exposure.
        brightness: Mean that the exposure aims at, linear.
        frame: Of the picture.
        rng: Of the noise.
    """
    scale = frame.size_px / 256
    if optics.glow:
        wide = blurred(radiance, 4.5 * scale)
        radiance = radiance + optics.glow * (wide - radiance)
    exposed = blurred(radiance, optics.blur_px * scale)
    gain = _gain(exposed, brightness)
    exposed *= _vignette(frame.size_px) * (-optics.vignette * gain) + gain
    np.maximum(exposed, 0, out=exposed)
    noise = rng.standard_normal(exposed.shape, dtype=np.float32)
    noise *= np.sqrt(exposed * optics.shot_noise + optics.read_noise**2)
    noise += exposed
    return np.ascontiguousarray(_display_from_linear(noise).transpose(1, 2, 0))


def _gain(radiance: Float32Array, brightness: float) -> float:
    """Go three quarters of the way to the wanted mean, in stops; bright scenes stay brighter."""
    mean = float(radiance.mean())
    return float((brightness / max(mean, 1e-4)) ** 0.75)


@lru_cache(maxsize=8)
def _vignette(size_px: int) -> Float32Array:
    """Squared distance from the middle, 1 in the corners; float32 (size, size)."""
    ticks = (np.arange(size_px, dtype=np.float32) + 0.5) / size_px * 2 - 1
    return np.asarray((ticks[None] ** 2 + ticks[:, None] ** 2) / 2, np.float32)


def _display_from_linear(linear: Float32Array) -> npt.NDArray[np.uint8]:
    index = np.clip(linear * (LEVELS - 1), 0, LEVELS - 1).astype(np.uint16)
    return np.asarray(_curve()[index], np.uint8)


@lru_cache(maxsize=1)
def _curve() -> npt.NDArray[np.uint8]:
    """The sRGB curve (IEC 61966-2-1), as a table."""
    linear = (np.arange(LEVELS) + 0.5) / LEVELS
    display = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(display * 255), np.uint8)
