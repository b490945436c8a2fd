"""Skies, and grounds in perspective."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lineup.types import Float32Array
from lineup_models.pocket.world.light import Rig
from lineup_models.pocket.world.planes import (
    Frame,
    colour_from_rgb,
    coverage,
    mixed,
    sampled,
)


@dataclass(frozen=True, slots=True)
class Setting:
    """What every place is painted from.

    Attributes:
        horizon: v of the horizon.
        coarse: Tiling noise, 1/f, float32 (size, size), mean 0, standard deviation 1.
        fine: The same, independent, with less of the low frequencies.
    """

    frame: Frame
    rig: Rig
    horizon: float
    coarse: Float32Array
    fine: Float32Array
    rng: np.random.Generator


def sky(setting: Setting, clouds: float) -> Float32Array:
    """Paint a sky over the whole picture; float32 (3, size, size), linear RGB.

    `clouds` is about the share of the sky that they cover.
    """
    frame, rig, rng = setting.frame, setting.rig, setting.rng
    height = np.maximum((setting.horizon - frame.v) / setting.horizon, 0)
    painted = mixed(rig.horizon, rig.zenith, np.sqrt(np.minimum(height, 1)))
    if clouds > 0:
        stretch = 1 / (height + 0.25)
        shift = rng.uniform(0, 1, 2).astype(np.float32)
        field = sampled(setting.coarse, frame.u * stretch * 0.35 + shift[0],
                        stretch * 0.6 + shift[1])  # fmt: skip
        cover = np.clip((field - (1.2 - 2.2 * clouds)) * 0.8, 0, 1)
        lit = (rig.sun + rig.ambient) * (0.35 if rig.night else 0.85)
        painted = mixed(painted, lit, cover * 0.85)
    return painted * (1 + setting.fine * 0.012)


def with_stars(painted: Float32Array, setting: Setting, count: int) -> Float32Array:
    """Add stars above the horizon, in place."""
    rng, size_px = setting.rng, setting.frame.size_px
    layer = np.zeros((size_px, size_px), np.float32)
    u, v = rng.uniform(0, 1, count), rng.uniform(0, setting.horizon * 0.98, count)
    for place_u, place_v, power in zip(u, v, rng.exponential(0.5, count), strict=True):
        column, row = setting.frame.pixel_from_place(float(place_u), float(place_v))
        if 0 <= column < size_px and 0 <= row < size_px:
            layer[int(row), int(column)] += 0.4 + power
    glow = np.asarray(cv2.GaussianBlur(layer, (0, 0), 0.6), np.float32)
    tint = colour_from_rgb(0.9, 0.93, 1.0)
    painted += glow * tint * 2
    return painted


def distance_on_ground(setting: Setting) -> Float32Array:
    """Return how far the ground is: 1 at the bottom of the picture, large at the horizon."""
    below = np.maximum(setting.frame.v - setting.horizon, 0.006)
    return np.asarray((1 - setting.horizon) / below, np.float32)


def ground_noise(setting: Setting, squeeze: float = 1.0, zoom: float = 0.5) -> Float32Array:
    """Noise that lies on the ground, fading where it is too far to be seen.

    `squeeze` above 1 stretches it sidewards, as waves and furrows are.
    """
    far = distance_on_ground(setting)
    shift = setting.rng.uniform(0, 1, 2).astype(np.float32)
    across = (setting.frame.u - 0.5) * far * (zoom / squeeze) + shift[0]
    field = sampled(setting.coarse, across, far * zoom + shift[1])
    return field / (1 + (far * 0.12) ** 2)


def ground_light(setting: Setting) -> Float32Array:
    """Return the light on level ground, linear RGB (3, 1, 1)."""
    rig = setting.rig
    return rig.ambient + rig.sun * max(rig.direction[1], 0.25)


def over_ground(
    sky: Float32Array, ground: Float32Array, setting: Setting, haze: float
) -> Float32Array:
    """Put a ground under a sky; `haze` of it takes the horizon's colour with distance."""
    far = distance_on_ground(setting)
    veil = haze * np.clip((far - 1) / 9, 0, 1)
    hazy = mixed(ground, setting.rig.horizon, veil)
    edge = (setting.frame.v - setting.horizon) * setting.frame.size_px
    return mixed(sky, hazy, coverage(edge))


def open_sky(setting: Setting) -> Float32Array:
    """A sky with some clouds; stars at night."""
    painted = sky(setting, clouds=float(setting.rng.uniform(0.1, 0.6)))
    return with_stars(painted, setting, 60) if setting.rig.night else painted
