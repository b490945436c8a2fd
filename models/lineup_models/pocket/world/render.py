"""The picture of a scene: drawn, then photographed by a camera."""

from __future__ import annotations

import zlib
from functools import lru_cache
from math import cos, radians, sin

import cv2
import numpy as np
import numpy.typing as npt

from lineup.types import Float32Array, RgbImage
from lineup_models.pocket.world.grammar import Background, Camera, Scene
from lineup_models.pocket.world.light import Rig, rig_from_light
from lineup_models.pocket.world.objects import SHAPES
from lineup_models.pocket.world.outdoors import Setting
from lineup_models.pocket.world.places import PLACES
from lineup_models.pocket.world.planes import Frame, blurred, fractal_pair, frame_from_size, grid_at
from lineup_models.pocket.world.scene import Placement, placements_from_scene
from lineup_models.pocket.world.sprites import Sprite, sprite_from_parts, style_from_group

LEVELS = 1 << 13
"""Steps of the display curve's table; fine enough to keep every 8-bit level."""


def photograph(
    radiance: Float32Array,
    frame: Frame,
    brightness: float,
    *,
    soft: bool,
    rng: np.random.Generator,
    noise_rng: np.random.Generator,
) -> RgbImage:
    """Return the picture that the camera takes.

    Args:
        radiance: Linear RGB, float32 (3, size, size), 0 and above.
        frame: Of the picture.
        brightness: Mean that the exposure aims at, linear.
        soft: Whether light is spread widely (soft focus).
        rng: Of the exposure.
        noise_rng: Of the noise, whose numbers depend on the size.
    """
    scale = frame.size_px / 256
    blur_px = float(rng.uniform(0.8, 1.15) if soft else rng.uniform(0.3, 0.5))
    glow = float(rng.uniform(0.3, 0.5)) if soft else 0.0
    darker_corners = float(rng.uniform(0.05, 0.35))
    shot_noise = float(rng.uniform(1.5, 5)) * 1e-4
    read_noise = float(rng.uniform(0.8, 2.5)) * 1e-3
    if soft:
        radiance = radiance + glow * (blurred(radiance, 4.5 * scale) - radiance)
    exposed = blurred(radiance, blur_px * scale)
    gain = _gain(exposed, brightness)
    exposed *= _vignette(frame.size_px) * (-darker_corners * gain) + gain
    np.maximum(exposed, 0, out=exposed)
    # Variance over the signal, and in the dark.
    noise = noise_rng.standard_normal(exposed.shape, dtype=np.float32)
    noise *= np.sqrt(exposed * shot_noise + read_noise**2)
    noise += exposed
    return np.ascontiguousarray(_display_from_linear(noise).transpose(1, 2, 0))


def _gain(radiance: Float32Array, brightness: float) -> float:
    """Go three quarters of the way to the wanted mean, in stops; bright scenes stay brighter."""
    return float((brightness / max(float(radiance.mean()), 1e-4)) ** 0.75)


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


def pixels_from_scene(scene: Scene, seed: int, size_px: int = 256) -> RgbImage:
    """Take a picture of a scene: uint8 RGB (size, size, 3).

    The same scene, seed and size give the same picture. Places, exact colours, proportions, light,
    textures and the camera's noise follow the seed; what the captions say does not.
    """
    return _render(scene, seed, size_px)[0]


def body_masks_from_scene(scene: Scene, seed: int, size_px: int = 256) -> tuple[Float32Array, ...]:
    """Return, for each group, where the picture shows its colour: float32 (size, size), 0..1."""
    return _render(scene, seed, size_px)[1]


def _render(scene: Scene, seed: int, size_px: int) -> tuple[RgbImage, tuple[Float32Array, ...]]:
    entropy = (seed, zlib.crc32(scene.captions()[0].encode()))
    # Textures need more numbers in larger pictures; geometry must not depend on the size.
    rng, texture_rng = (np.random.default_rng((*entropy, stream)) for stream in (0, 1))
    rig = rig_from_light(scene.light, rng)
    frame = frame_from_size(size_px, _tilt(scene.camera, rng))
    coarse, fine = _textures(texture_rng, size_px)
    painter, (highest, lowest) = PLACES[scene.background]
    horizon = float(rng.uniform(highest, lowest))
    setting = Setting(frame, rig, horizon, coarse, fine, rng)
    canvas = _out_of_focus(painter(setting), scene, rng)
    placements = placements_from_scene(scene, rng)
    sprites = _sprites(scene, placements, setting)
    shadows = _shadows(placements, sprites, frame, rig)
    canvas *= 1 - shadows * _shadow_depth(rig, scene)
    masks = tuple(np.zeros((size_px, size_px), np.float32) for _ in scene.groups)
    for placement, sprite in zip(placements, sprites, strict=True):
        _composite(canvas, sprite, masks, placement.group)
    soft = scene.camera is Camera.SOFT_FOCUS
    pixels = photograph(canvas, frame, rig.brightness, soft=soft, rng=rng, noise_rng=texture_rng)
    return pixels, masks


def _tilt(camera: Camera, rng: np.random.Generator) -> float:
    if camera is Camera.TILTED:
        return radians(float(rng.uniform(9, 16)) * float(rng.choice([-1, 1])))
    return radians(float(rng.normal(0, 0.5)))


def _textures(rng: np.random.Generator, size_px: int) -> tuple[Float32Array, Float32Array]:
    """Tiling noise, one field of all frequencies and one without the lowest."""
    coarse, other = fractal_pair(rng, size_px, exponent=1.1)
    side = size_px // 8
    fine = other - cv2.blur(cv2.blur(other, (side, side)), (side, side))
    return coarse, fine * 1.6


def _out_of_focus(canvas: Float32Array, scene: Scene, rng: np.random.Generator) -> Float32Array:
    """Blur the place a little, more in close-ups."""
    widest = 1.6 if scene.camera is Camera.CLOSE_UP else 0.6
    sigma = float(rng.uniform(0, widest)) * canvas.shape[1] / 256
    return blurred(canvas, sigma) if sigma > 0.3 else canvas


def _sprites(scene: Scene, placements: tuple[Placement, ...], setting: Setting) -> list[Sprite]:
    rig, rng = setting.rig, setting.rng
    styles = [style_from_group(group, rig, rng) for group in scene.groups]
    proportions = [int(rng.integers(1 << 31)) for _ in scene.groups]
    sprites = []
    for place in placements:
        group = scene.groups[place.group]
        grid = grid_at(setting.frame, (place.u, place.v), place.unit, place.angle, place.flip)
        parts = SHAPES[group.kind](grid, np.random.default_rng(proportions[place.group]))
        grain = _window(setting.fine, grid.x.shape, rng)
        sprites.append(sprite_from_parts(parts, grid, styles[place.group], rig, grain))
    return sprites


def _window(field: Float32Array, shape: tuple[int, ...], rng: np.random.Generator) -> Float32Array:
    """Cut a window out of a tiling field at a random place."""
    top, left = (int(start) for start in rng.integers(0, field.shape[0], 2))
    rows = np.arange(top, top + shape[0]) % field.shape[0]
    columns = np.arange(left, left + shape[1]) % field.shape[1]
    return np.asarray(field[rows[:, None], columns[None]], np.float32)


def _shadow_depth(rig: Rig, scene: Scene) -> float:
    direct, around = float(rig.sun.sum()), float(rig.ambient.sum())
    softness = 0.6 if scene.background is Background.SEA else 0.85
    return softness * direct / (direct + around)


def _shadows(
    placements: tuple[Placement, ...], sprites: list[Sprite], frame: Frame, rig: Rig
) -> Float32Array:
    """Cast every silhouette on the ground; float32 (size, size), 0..1."""
    size_px = frame.size_px
    cast = np.zeros((size_px, size_px), np.float32)
    touch = np.zeros((size_px, size_px), np.float32)
    across, up, _ = rig.direction
    squash = min(0.22 / max(up, 0.25), 0.6)
    lean = -across / max(up, 0.3) * 0.5
    cosine, sine = cos(frame.angle), sin(frame.angle)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    fall = turn @ np.array([[1.0, -lean], [0.0, squash]]) @ turn.T
    for place, sprite in zip(placements, sprites, strict=True):
        base = np.array(frame.pixel_from_place(place.u, place.v))
        ground = np.array(frame.pixel_from_place(place.u, place.ground_v))
        corner = np.array([sprite.left + 0.5, sprite.top + 0.5])
        offset = fall @ (corner - base) + ground - 0.5
        matrix = np.column_stack([fall, offset])
        cv2.warpAffine(
            sprite.coverage, matrix, (size_px, size_px), dst=touch,
            flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT,
        )  # fmt: skip
        cast = np.maximum(cast, touch * (1.0 if place.v == place.ground_v else 0.6))
    return np.asarray(cv2.GaussianBlur(cast, (0, 0), 2.0 * size_px / 256), np.float32)


def _composite(
    canvas: Float32Array, sprite: Sprite, masks: tuple[Float32Array, ...], group: int
) -> None:
    """Put a sprite over the canvas and keep track of what it covers, in place."""
    rows, columns = sprite.coverage.shape
    top, left = max(sprite.top, 0), max(sprite.left, 0)
    bottom = min(sprite.top + rows, canvas.shape[1])
    right = min(sprite.left + columns, canvas.shape[2])
    if top >= bottom or left >= right:
        return
    target = (..., slice(top, bottom), slice(left, right))
    source = (
        ...,
        slice(top - sprite.top, bottom - sprite.top),
        slice(left - sprite.left, right - sprite.left),
    )
    open_ = 1 - sprite.coverage[source]
    canvas[target] = canvas[target] * open_ + sprite.colour[source]
    for index, mask in enumerate(masks):
        mask[target] *= open_
        if index == group:
            mask[target] += sprite.body[source] * sprite.coverage[source]
