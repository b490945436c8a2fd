"""Skies: gradient, clouds, sun glow, stars."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lineup.types import Float32Array
from lineup_models.pocket.world.frame import Frame
from lineup_models.pocket.world.light import Rig
from lineup_models.pocket.world.noise import sampled
from lineup_models.pocket.world.planes import colour_from_rgb, mixed


@dataclass(frozen=True, slots=True)
class Setting:
    """What every place is painted from.

    Attributes:
        frame: Coordinates of the picture.
        rig: Its light.
        horizon: v of the horizon.
        coarse: Tiling noise, 1/f, float32 (size, size), mean 0, standard deviation 1.
        fine: The same, independent, with less of the low frequencies.
        rng: For everything else.
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
