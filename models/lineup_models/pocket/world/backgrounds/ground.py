"""Grounds: planes in perspective with natural textures."""

from __future__ import annotations

import numpy as np

from lineup.types import Float32Array
from lineup_models.pocket.world.backgrounds.sky import Setting
from lineup_models.pocket.world.noise import sampled
from lineup_models.pocket.world.palette import linear_from_hsv
from lineup_models.pocket.world.planes import coverage, mixed


def colour_near(
    rng: np.random.Generator, hue: float, saturation: float, value: float
) -> Float32Array:
    """Draw a linear RGB near a display colour."""
    spread = rng.uniform(-1, 1, 3) * (7, 0.07, 0.05)
    return linear_from_hsv(
        hue + float(spread[0]),
        float(np.clip(saturation + spread[1], 0, 1)),
        float(np.clip(value + spread[2], 0, 1)),
    )


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
