"""Painters of the places, and which paints which."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from lineup.types import Float32Array
from lineup_models.pocket.world.grammar import Background
from lineup_models.pocket.world.light import colour_near
from lineup_models.pocket.world.outdoors import (
    Setting,
    distance_on_ground,
    ground_light,
    ground_noise,
    open_sky,
    over_ground,
    sky,
    with_stars,
)
from lineup_models.pocket.world.planes import colour_from_rgb, coverage, mixed, ridge


def _meadow(setting: Setting) -> Float32Array:
    rng = setting.rng
    grass = colour_near(rng, 92, 0.58, 0.46)
    dry = colour_near(rng, 68, 0.52, 0.55)
    patches = ground_noise(setting)
    blend = np.clip(0.35 + 0.25 * patches, 0, 1)
    blades = 1 + 0.2 * setting.fine + 0.12 * patches
    ground = mixed(grass, dry, blend) * np.maximum(blades, 0.15) * ground_light(setting)
    backdrop = _ridges(open_sky(setting), setting, colour_near(rng, 110, 0.45, 0.34), 1, 0.05)
    return over_ground(backdrop, ground, setting, haze=0.3)


def _desert(setting: Setting) -> Float32Array:
    rng = setting.rng
    sand = colour_near(rng, 36, 0.45, 0.82)
    waves = ground_noise(setting, squeeze=3.0, zoom=0.4)
    grains = 1 + 0.16 * waves + 0.07 * setting.fine
    ground = sand * np.maximum(grains, 0.2) * ground_light(setting)
    backdrop = _ridges(open_sky(setting), setting, colour_near(rng, 32, 0.45, 0.7), 2, 0.06)
    return over_ground(backdrop, ground, setting, haze=0.4)


def _sea(setting: Setting) -> Float32Array:
    rng, rig = setting.rng, setting.rig
    deep = colour_near(rng, 205, 0.65, 0.42) * ground_light(setting)
    waves = ground_noise(setting, squeeze=4.0, zoom=0.8)
    mirror = np.clip(0.35 + 0.22 * waves, 0, 1)
    water = mixed(deep, (rig.horizon + rig.zenith) * 0.5, mirror)
    glints = np.maximum(waves + 0.3 * setting.fine - 1.6, 0)
    water += glints * rig.sun * 0.5
    water *= 1 + 0.06 * setting.fine
    return over_ground(open_sky(setting), water, setting, haze=0.4)


def _snow(setting: Setting) -> Float32Array:
    rng = setting.rng
    white = colour_near(rng, 215, 0.07, 0.94)
    drifts = ground_noise(setting, squeeze=2.0, zoom=0.35)
    relief = 1 + 0.09 * drifts + 0.035 * setting.fine
    ground = white * np.maximum(relief, 0.3) * ground_light(setting)
    backdrop = _ridges(open_sky(setting), setting, colour_near(rng, 215, 0.25, 0.45), 1, 0.04)
    return over_ground(backdrop, ground, setting, haze=0.3)


def _mountains(setting: Setting) -> Float32Array:
    rng = setting.rng
    backdrop = _ridges(open_sky(setting), setting, colour_near(rng, 218, 0.3, 0.42), 3, 0.2)
    stone = colour_near(rng, 50, 0.22, 0.44)
    noise = ground_noise(setting, zoom=0.9)
    rough = 1 + 0.25 * noise + 0.16 * setting.fine
    ground = stone * np.maximum(rough, 0.15) * ground_light(setting)
    return over_ground(backdrop, ground, setting, haze=0.3)


def _night_sky(setting: Setting) -> Float32Array:
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


def _forest(setting: Setting) -> Float32Array:
    rng, frame = setting.rng, setting.frame
    light = ground_light(setting)
    leaves = mixed(colour_near(rng, 110, 0.55, 0.25), colour_near(rng, 85, 0.6, 0.52),
                   np.clip(0.45 + 0.3 * setting.coarse
                           + 0.25 * setting.fine, 0, 1))  # fmt: skip
    gaps = np.clip((setting.coarse - 1.1) * 2, 0, 1) * 0.6
    backdrop = mixed(leaves * light, setting.rig.horizon, gaps)
    for depth in (0.45, 1.0):
        bark = colour_near(rng, 28, 0.35, 0.2 + 0.1 * depth) * light
        for _ in range(int(rng.integers(3, 6))):
            middle, half = float(rng.uniform(0, 1)), float(rng.uniform(0.012, 0.03)) * depth
            lean = float(rng.normal(0, 0.04))
            across = frame.u - middle - lean * (frame.v - 0.5)
            cover = np.clip((half - np.abs(across)) * frame.size_px, 0, 1)
            round_ = 1 + 0.5 * _light_side(setting) * across / half
            shade = np.clip(round_ + 0.25 * setting.fine, 0.3, 1.7)
            backdrop = mixed(backdrop, bark * shade, cover)
    moss, soil = colour_near(rng, 80, 0.45, 0.36), colour_near(rng, 30, 0.5, 0.35)
    bare = np.clip(0.4 + 0.3 * ground_noise(setting), 0, 1)
    floor = mixed(moss, soil, bare)
    rough = np.maximum(1 + 0.25 * setting.fine, 0.2)
    return over_ground(backdrop, floor * rough * light, setting, haze=0.0)


def _light_side(setting: Setting) -> float:
    """Return the side the light comes from: -1 left, 1 right."""
    return 1.0 if setting.rig.direction[0] > 0 else -1.0


def _city(setting: Setting) -> Float32Array:
    backdrop = open_sky(setting)
    for depth in (0.5, 1.0):
        backdrop = _skyline(backdrop, setting, depth)
    street = colour_near(setting.rng, 220, 0.06, 0.42)
    rough = 1 + 0.14 * ground_noise(setting, zoom=1.0) + 0.1 * setting.fine
    ground = street * np.maximum(rough, 0.2) * ground_light(setting)
    return over_ground(backdrop, ground, setting, haze=0.25)


def _skyline(painted: Float32Array, setting: Setting, near: float) -> Float32Array:
    rng, frame, rig = setting.rng, setting.frame, setting.rig
    count = int(rng.integers(7, 11))
    edges = np.cumsum(rng.uniform(0.6, 1.4, count))
    edges = ((edges / edges[-1]) * 1.5 - 0.25).astype(np.float32)
    number = np.minimum(np.searchsorted(edges, frame.u.ravel()), count - 1).reshape(frame.u.shape)
    tall = rng.uniform(0.1, 0.42, count).astype(np.float32) * (1.25 - 0.5 * near)
    hues, values = rng.choice([20, 40, 210], count), rng.uniform(0.4, 0.7, count)
    walls = np.concatenate(
        [
            colour_near(rng, float(hue), 0.15, float(value))
            for hue, value in zip(hues, values, strict=True)
        ],
        axis=1,
    )[..., 0]
    light = rig.ambient + rig.sun * 0.45
    lit = walls[:, number] * light * (1 + 0.06 * setting.coarse)
    up = setting.horizon - frame.v
    pane = 0.03 + 0.015 * near
    x, y = frame.u / pane, up / (pane * 1.3)
    sharp = pane * frame.size_px
    inside = np.minimum(
        0.28 - np.abs(x - np.floor(x) - 0.5),
        0.28 - np.abs(y - np.floor(y) - 0.5),
    )
    window = coverage(inside * sharp)
    lamps = rng.random((64, 64)) < (0.35 if rig.night else 0.03)
    cell = lamps[np.floor(y).astype(int) % 64, np.floor(x).astype(int) % 64]
    glow = colour_from_rgb(1.0, 0.72, 0.35) * (0.45 if rig.night else 0.8)
    panes = np.where(cell, glow, rig.zenith * 0.4 + light * 0.05)
    lit = mixed(lit, panes, window * 0.85)
    lit = rig.horizon + (0.45 + 0.5 * near) * (lit - rig.horizon)
    cover = coverage((tall[number] - up) * frame.size_px)
    return mixed(painted, lit, cover)


def _table(setting: Setting) -> Float32Array:
    rng, frame, rig = setting.rng, setting.frame, setting.rig
    room = colour_near(rng, float(rng.choice([25, 45, 160, 210])), 0.25, 0.42)
    side = 1 + 0.5 * _light_side(setting) * (frame.u - 0.5)
    dim = side + 0.16 * setting.coarse + 0.02 * setting.fine
    backdrop = room * np.maximum(dim, 0.1) * (rig.ambient + rig.sun * 0.25)
    far = distance_on_ground(setting)
    across = (frame.u - 0.5) * far * rng.uniform(2, 4) + rng.uniform(0, 1)
    plank = np.floor(across)
    tone = np.take(rng.uniform(0.75, 1.2, 32).astype(np.float32), plank.astype(int) % 32)
    gap = np.abs(across - plank - 0.5) - 0.485
    seam = np.clip(gap * 40, 0, 1)
    veins = ground_noise(setting, squeeze=0.12, zoom=0.25)
    wood = colour_near(rng, 27, 0.52, 0.55)
    tone = tone * (1 + 0.2 * veins + 0.05 * setting.fine) * (1 - 0.6 * seam)
    surface = wood * np.maximum(tone, 0.1) * ground_light(setting)
    return over_ground(backdrop, surface, setting, haze=0.0)


def _wall(setting: Setting) -> Float32Array:
    rng, frame, rig = setting.rng, setting.frame, setting.rig
    tall = rng.uniform(0.045, 0.065)
    y = (frame.v + rng.uniform(0, 1)) / tall
    row = np.floor(y)
    x = (frame.u + rng.uniform(0, 1)) / (tall * 2.6) + row * 0.5
    column = np.floor(x)
    tones = rng.uniform(0.72, 1.22, (64, 64)).astype(np.float32)
    tone = tones[row.astype(int) % 64, column.astype(int) % 64]
    px = tall * frame.size_px
    edge = np.minimum(
        0.5 - np.abs(x - column - 0.5) - 0.02,
        (0.5 - np.abs(y - row - 0.5) - 0.05) / 2.6,
    )
    brick = coverage(edge * px * 2.6)
    rough = 1 + 0.1 * setting.coarse + 0.12 * setting.fine
    clay = colour_near(rng, float(rng.choice([12, 20, 30])), 0.5, 0.52)
    mortar = colour_near(rng, 40, 0.1, 0.62)
    falloff = 1 + 0.6 * _light_side(setting) * (frame.u - 0.5)
    light = (rig.ambient + rig.sun * 0.55) * falloff
    bricks = mixed(mortar, clay * tone, brick) * rough * light
    pavement = colour_near(rng, 40, 0.06, 0.5)
    stones = 1 + 0.12 * ground_noise(setting) + 0.1 * setting.fine
    floor = pavement * np.maximum(stones, 0.2) * ground_light(setting)
    return over_ground(bricks, floor, setting, haze=0.0)


def _studio(setting: Setting) -> Float32Array:
    rng, frame, rig = setting.rng, setting.frame, setting.rig
    paper = colour_near(rng, float(rng.uniform(0, 360)), float(rng.uniform(0.05, 0.3)), 0.66)
    bend = coverage((frame.v - setting.horizon) * 4)
    fall = 1 + 0.7 * _light_side(setting) * (frame.u - 0.5)
    level = fall * (0.75 + 0.3 * bend)
    level *= 1 + 0.03 * setting.coarse + 0.015 * setting.fine
    return np.asarray(paper * level * (rig.ambient + rig.sun * 0.6), np.float32)


Painter = Callable[[Setting], Float32Array]
"""Paints a place, float32 (3, size, size), linear RGB."""

PLACES: Mapping[Background, tuple[Painter, tuple[float, float]]] = {
    Background.MEADOW: (_meadow, (0.4, 0.56)),
    Background.DESERT: (_desert, (0.4, 0.56)),
    Background.SEA: (_sea, (0.38, 0.55)),
    Background.SNOW: (_snow, (0.4, 0.56)),
    Background.FOREST: (_forest, (0.5, 0.6)),
    Background.CITY: (_city, (0.5, 0.6)),
    Background.MOUNTAINS: (_mountains, (0.48, 0.6)),
    Background.NIGHT_SKY: (_night_sky, (0.55, 0.64)),
    Background.TABLE: (_table, (0.4, 0.55)),
    Background.WALL: (_wall, (0.56, 0.64)),
    Background.STUDIO: (_studio, (0.5, 0.62)),
}
"""Painter and range of the horizon's v."""
