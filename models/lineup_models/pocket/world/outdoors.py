"""Open country: skies, grounds in perspective, and the places made of them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lineup.types import Float32Array
from lineup_models.pocket.world.light import Rig, colour_near
from lineup_models.pocket.world.planes import (
    Frame,
    colour_from_rgb,
    coverage,
    mixed,
    ridge,
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


def meadow(setting: Setting) -> Float32Array:
    """Grass, with darker and yellower patches, and hills at the horizon."""
    rng = setting.rng
    grass = colour_near(rng, 92, 0.58, 0.46)
    dry = colour_near(rng, 68, 0.52, 0.55)
    patches = ground_noise(setting)
    blend = np.clip(0.35 + 0.25 * patches, 0, 1)
    blades = 1 + 0.2 * setting.fine + 0.12 * patches
    ground = mixed(grass, dry, blend) * np.maximum(blades, 0.15) * ground_light(setting)
    backdrop = _ridges(open_sky(setting), setting, colour_near(rng, 110, 0.45, 0.34), 1, 0.05)
    return over_ground(backdrop, ground, setting, haze=0.3)


def desert(setting: Setting) -> Float32Array:
    """Sand with ripples and dunes."""
    rng = setting.rng
    sand = colour_near(rng, 36, 0.45, 0.82)
    waves = ground_noise(setting, squeeze=3.0, zoom=0.4)
    grains = 1 + 0.16 * waves + 0.07 * setting.fine
    ground = sand * np.maximum(grains, 0.2) * ground_light(setting)
    backdrop = _ridges(open_sky(setting), setting, colour_near(rng, 32, 0.45, 0.7), 2, 0.06)
    return over_ground(backdrop, ground, setting, haze=0.4)


def sea(setting: Setting) -> Float32Array:
    """Water with waves that mirror the sky."""
    rng, rig = setting.rng, setting.rig
    deep = colour_near(rng, 205, 0.65, 0.42) * ground_light(setting)
    waves = ground_noise(setting, squeeze=4.0, zoom=0.8)
    mirror = np.clip(0.35 + 0.22 * waves, 0, 1)
    water = mixed(deep, (rig.horizon + rig.zenith) * 0.5, mirror)
    glints = np.maximum(waves + 0.3 * setting.fine - 1.6, 0)
    water += glints * rig.sun * 0.5
    water *= 1 + 0.06 * setting.fine
    return over_ground(open_sky(setting), water, setting, haze=0.4)


def snow(setting: Setting) -> Float32Array:
    """Snow with soft drifts, and bare woods far away."""
    rng = setting.rng
    white = colour_near(rng, 215, 0.07, 0.94)
    drifts = ground_noise(setting, squeeze=2.0, zoom=0.35)
    relief = 1 + 0.09 * drifts + 0.035 * setting.fine
    ground = white * np.maximum(relief, 0.3) * ground_light(setting)
    backdrop = _ridges(open_sky(setting), setting, colour_near(rng, 215, 0.25, 0.45), 1, 0.04)
    return over_ground(backdrop, ground, setting, haze=0.3)


def mountains(setting: Setting) -> Float32Array:
    """Ridges behind ridges, above a stony ground."""
    rng = setting.rng
    backdrop = _ridges(open_sky(setting), setting, colour_near(rng, 218, 0.3, 0.42), 3, 0.2)
    stone = colour_near(rng, 50, 0.22, 0.44)
    noise = ground_noise(setting, zoom=0.9)
    rough = 1 + 0.25 * noise + 0.16 * setting.fine
    ground = stone * np.maximum(rough, 0.15) * ground_light(setting)
    return over_ground(backdrop, ground, setting, haze=0.3)


def night_sky(setting: Setting) -> Float32Array:
    """Many stars and a faint milky band, above dark hills."""
    rng = setting.rng
    painted = with_stars(sky(setting, clouds=0.0), setting, 220)
    slope = float(rng.uniform(-1, 1))
    off = setting.frame.v - 0.3 - slope * (setting.frame.u - 0.5)
    band = np.exp(-((off / 0.12) ** 2)) * np.maximum(1 + 0.5 * setting.coarse, 0)
    painted += band * colour_from_rgb(0.05, 0.05, 0.085)
    earth = colour_near(rng, 130, 0.3, 0.3)
    rough = 1 + 0.25 * ground_noise(setting) + 0.12 * setting.fine
    ground = earth * np.maximum(rough, 0.15) * ground_light(setting)
    backdrop = _ridges(painted, setting, earth * 0.5, 1, 0.06)
    return over_ground(backdrop, ground, setting, haze=0.2)


def _ridges(
    painted: Float32Array, setting: Setting, colour: Float32Array, count: int, height: float
) -> Float32Array:
    """Put `count` ridges at the horizon, far ones first; `height` in parts of the picture."""
    rng, frame = setting.rng, setting.frame
    light = ground_light(setting) * 0.9
    texture = 1 + 0.12 * setting.coarse + 0.08 * setting.fine
    lit = colour * light * np.maximum(texture, 0.2)
    for index in range(count):
        near = (index + 1) / count
        top = height * (1.15 - 0.6 * index / count)
        profile = ridge(rng, frame.u * 0.9 + rng.uniform(0, 1))
        crest = setting.horizon - top * (0.6 + 0.3 * profile)
        cover = coverage((frame.v - crest) * frame.size_px)
        hazy = setting.rig.horizon + near * 0.8 * (lit - setting.rig.horizon)
        painted = mixed(painted, hazy, cover)
    return painted
