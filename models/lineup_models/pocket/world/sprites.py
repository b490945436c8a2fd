"""Sprites: one thing, painted and shaded, with its coverage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import cos, sin

import cv2
import numpy as np

from lineup.types import Float32Array
from lineup_models.pocket.world.frame import Grid
from lineup_models.pocket.world.grammar import Material
from lineup_models.pocket.world.light import Rig
from lineup_models.pocket.world.palette import (
    colour_from_word,
    linear_from_hsv,
    partner_from_colour,
)
from lineup_models.pocket.world.scene import Group
from lineup_models.pocket.world.shapes.parts import Paint, Part

STEEP = np.float32(0.96)
"""Largest tilt of a normal at a rounded edge."""


@dataclass(frozen=True, slots=True)
class Style:
    """How the things of one group are painted in one picture; colours are linear RGB (3,).

    Attributes:
        paints: Colour of each paint.
        partner: Second colour of a pattern.
        material: Surface of the body.
        period: Of the pattern, in units.
        turn: Of the pattern, radians.
        grain: Contrast of the grain on the body.
    """

    paints: Mapping[Paint, Float32Array]
    partner: Float32Array
    material: Material
    period: float
    turn: float
    grain: float


@dataclass(frozen=True, slots=True)
class Sprite:
    """A painted thing.

    Attributes:
        colour: float32 (rows, columns, 3), linear RGB, multiplied by the coverage.
        coverage: float32 (rows, columns), 0..1.
        body: float32 (rows, columns), coverage of what has the caption's colour.
        left: First column in the picture.
        top: First row in the picture.
    """

    colour: Float32Array
    coverage: Float32Array
    body: Float32Array
    left: int
    top: int


def style_from_group(group: Group, rig: Rig, rng: np.random.Generator) -> Style:
    """Draw the exact paints of a group."""

    def hsv(hue: float, saturation: float, value: float) -> Float32Array:
        spread = rng.uniform(-1, 1, 3) * (12, 0.08, 0.08)
        return linear_from_hsv(
            hue + float(spread[0]),
            float(np.clip(saturation + spread[1], 0, 1)),
            float(np.clip(value + spread[2], 0.03, 1)),
        )

    paints = {
        Paint.BODY: colour_from_word(rng, group.colour),
        Paint.TRIM: hsv(float(rng.choice([12, 25, 210])), 0.35, 0.38),
        Paint.WOOD: hsv(26, 0.5, 0.38),
        Paint.DARK: hsv(220, 0.1, 0.13),
        Paint.METAL: hsv(215, 0.08, 0.62),
        Paint.CREAM: hsv(44, 0.14, 0.9),
        Paint.LEAF: hsv(110, 0.6, 0.48),
        Paint.GLASS: hsv(205, 0.35, 0.35),
        Paint.GLOW: hsv(46, 0.55, 0.96),
    }
    if rig.night:
        paints[Paint.GLASS] = hsv(42, 0.5, 0.95) * np.float32(2.5)
        paints[Paint.GLOW] = paints[Paint.GLOW] * np.float32(2.5)
    return Style(
        paints,
        partner_from_colour(rng, group.colour),
        group.material,
        period=float(rng.uniform(0.17, 0.26)),
        turn=float(rng.uniform(-0.9, 0.9)),
        grain=float(rng.uniform(0.05, 0.12)),
    )


def sprite_from_parts(
    parts: list[Part], grid: Grid, style: Style, rig: Rig, grain: Float32Array
) -> Sprite:
    """Paint the parts over one another; `grain` is a noise field, float32, shape of the grid."""
    colour = np.zeros((*grain.shape, 3), np.float32)
    coverage, body = np.zeros_like(grain), np.zeros_like(grain)
    for part in parts:
        mask = np.clip(np.float32(0.5) - part.distance * np.float32(grid.unit_px), 0, 1)
        shaded = _shaded(part, grid, style, rig, grain)
        colour += mask[..., None] * (shaded - colour)
        coverage += mask * (1 - coverage)
        body += mask * (np.float32(part.paint is Paint.BODY) - body)
    return Sprite(colour, coverage, body, grid.left, grid.top)


def _shaded(part: Part, grid: Grid, style: Style, rig: Rig, grain: Float32Array) -> Float32Array:
    nx, ny, nz = _normals(part, grid)
    lx, ly, lz = (np.float32(value) for value in rig.direction)
    facing = np.maximum(nx * lx + ny * ly + nz * lz, 0)
    sky = np.float32(0.78) + np.float32(0.22) * ny
    light = facing[..., None] * rig.sun + sky[..., None] * rig.ambient
    if rig.night and part.paint in (Paint.GLASS, Paint.GLOW):
        light = np.maximum(light, np.float32(0.3))
    is_body = part.paint is Paint.BODY
    albedo = _body_albedo(grid, style, nx, ny) if is_body else style.paints[part.paint]
    grained = 1 + grain * np.float32(style.grain if is_body else 0.06)
    shaded = light * albedo * grained[..., None]
    gloss = _gloss(part, style)
    if gloss:
        shaded += _highlight(nx, ny, nz, rig, gloss)
    return np.asarray(shaded, np.float32)


def _normals(part: Part, grid: Grid) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Normals in the picture's axes: right, up, to the camera."""
    cosine, sine = np.float32(cos(grid.angle)), np.float32(sin(grid.angle))
    side = np.float32(-1 if grid.mirrored else 1)
    x, y = side * np.float32(part.tilt[0]), np.float32(part.tilt[1])
    across = x if part.barrel is None else x + side * STEEP * part.barrel
    nx = np.broadcast_to(cosine * across + sine * y, grid.x.shape)
    ny = np.broadcast_to(cosine * y - sine * across, grid.x.shape)
    if part.bevel:
        edge = np.clip(1 + part.distance / np.float32(part.bevel), 0, STEEP)
        scale = grid.unit_px / 8
        nx = nx + edge * cv2.Sobel(part.distance, cv2.CV_32F, 1, 0, scale=scale)
        ny = ny - edge * cv2.Sobel(part.distance, cv2.CV_32F, 0, 1, scale=scale)
    square = nx * nx + ny * ny
    nz = np.sqrt(np.maximum(1 - square, np.float32(0.04)))
    norm = 1 / np.sqrt(square + nz * nz)
    return nx * norm, ny * norm, nz * norm


def _gloss(part: Part, style: Style) -> float:
    if part.paint is Paint.BODY:
        return {Material.SHINY: 1.0, Material.MATTE: 0.0}.get(style.material, 0.12)
    return 0.6 if part.paint in (Paint.GLASS, Paint.METAL) else 0.0


def _highlight(
    nx: Float32Array, ny: Float32Array, nz: Float32Array, rig: Rig, gloss: float
) -> Float32Array:
    """Blinn-Phong highlight, and the sky and ground mirrored at grazing angles."""
    half = np.add(rig.direction, (0, 0, 1))
    hx, hy, hz = (half / np.linalg.norm(half)).astype(np.float32)
    peak = np.maximum(nx * hx + ny * hy + nz * hz, 0) ** np.float32(48)
    rim = (1 - nz) ** 2 * np.clip(ny + np.float32(0.3), 0, 1)
    lit = peak[..., None] * rig.sun * np.float32(1.5 * gloss)
    return np.asarray(lit + rim[..., None] * rig.horizon * np.float32(0.5 * gloss), np.float32)


def _body_albedo(grid: Grid, style: Style, nx: Float32Array, ny: Float32Array) -> Float32Array:
    colour = style.paints[Paint.BODY]
    if style.material in (Material.MATTE, Material.SHINY):
        return colour
    # The pattern follows the bulge of the surface.
    x, y = grid.x + np.float32(0.1) * nx, grid.y + np.float32(0.1) * ny
    cosine, sine = np.float32(cos(style.turn)), np.float32(sin(style.turn))
    along, across = (cosine * x + sine * y), (cosine * y - sine * x)
    share = _pattern(style, along, across, grid.unit_px)
    return np.asarray(colour + share[..., None] * (style.partner - colour), np.float32)


def _pattern(style: Style, x: Float32Array, y: Float32Array, unit_px: float) -> Float32Array:
    """Share of the second colour, 0..1, antialiased."""
    period = max(style.period, 5 / unit_px)
    sharpness = np.float32(period * unit_px / np.pi)
    wave = np.float32(2 * np.pi / period)
    half = np.float32(0.5)
    if style.material is Material.STRIPED:
        return np.clip(half + sharpness * half * (np.sin(wave * x) - np.float32(0.15)), 0, 1)
    if style.material is Material.CHECKERED:
        steps = np.sin(wave * half * x) * np.sin(wave * half * y)
        return np.clip(half + sharpness * 2 * steps, 0, 1)
    rows = np.floor(y / np.float32(period))
    columns = x / np.float32(period) + rows * half
    dx, dy = columns - np.floor(columns) - half, y / np.float32(period) - rows - half
    radius = np.sqrt(dx * dx + dy * dy) * np.float32(period * unit_px)
    return np.clip(np.float32(0.3 * period * unit_px) - radius + half, 0, 1)
