"""Sprites: one thing, painted and shaded, with its coverage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import cos, sin

import cv2
import numpy as np

from lineup.types import AnyArray, Float32Array
from lineup_models.pocket.world.grammar import Group, Material
from lineup_models.pocket.world.light import (
    Rig,
    colour_from_word,
    colour_near,
    partner_from_colour,
)
from lineup_models.pocket.world.planes import Grid, coverage
from lineup_models.pocket.world.solids import Paint, Part

STEEP = 0.96
"""Largest tilt of a normal at a rounded edge."""


@dataclass(frozen=True, slots=True)
class Style:
    """How the things of one group are painted in one picture; colours are linear RGB (3, 1, 1).

    Attributes:
        partner: Second colour of a pattern.
        period: Of the pattern, in units; `turn` in radians.
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
        colour: float32 (3, rows, columns), linear RGB, multiplied by the coverage.
        coverage: float32 (rows, columns), 0..1.
        body: float32 (rows, columns), coverage of what has the caption's colour.
        left: First column in the picture; `top`, its first row.
    """

    colour: Float32Array
    coverage: Float32Array
    body: Float32Array
    left: int
    top: int


def style_from_group(group: Group, rig: Rig, rng: np.random.Generator) -> Style:
    """Draw the exact paints of a group."""

    def hsv(hue: float, saturation: float, value: float) -> Float32Array:
        return colour_near(rng, hue, saturation, value, (12, 0.08, 0.08), darkest=0.03)

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
        paints[Paint.GLASS] = hsv(42, 0.5, 0.95) * 2.5
        paints[Paint.GLOW] = paints[Paint.GLOW] * 2.5
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
    colour = np.zeros((3, *grain.shape), np.float32)
    covered, body = np.zeros_like(grain), np.zeros_like(grain)
    for part in parts:
        mask = coverage(-part.distance * grid.unit_px)
        shaded = _shaded(part, grid, style, rig, grain)
        colour += mask * (shaded - colour)
        covered += mask * (1 - covered)
        body += mask * ((part.paint is Paint.BODY) - body)
    return Sprite(colour, covered, body, grid.left, grid.top)


def _shaded(part: Part, grid: Grid, style: Style, rig: Rig, grain: Float32Array) -> Float32Array:
    nx, ny, nz = _normals(part, grid)
    lx, ly, lz = rig.direction
    facing = np.maximum(nx * lx + ny * ly + nz * lz, 0)
    sky = 0.78 + 0.22 * ny
    light = facing * rig.sun + sky * rig.ambient
    if rig.night and part.paint in (Paint.GLASS, Paint.GLOW):
        light = np.maximum(light, 0.3)
    is_body = part.paint is Paint.BODY
    albedo = _body_albedo(part, grid, style, nx, ny) if is_body else style.paints[part.paint]
    grained = 1 + grain * (style.grain if is_body else 0.06)
    shaded = light * albedo * grained
    gloss = _gloss(part, style)
    if gloss:
        shaded += _highlight(nx, ny, nz, rig, gloss)
    return np.asarray(shaded, np.float32)


def _normals(part: Part, grid: Grid) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Normals in the picture's axes: right, up, to the camera."""
    cosine, sine = cos(grid.angle), sin(grid.angle)
    side = -1 if grid.mirrored else 1
    x, y = side * part.tilt[0], part.tilt[1]
    across = x if part.barrel is None else x + side * STEEP * part.barrel
    nx = np.zeros_like(grid.x) + (cosine * across + sine * y)
    ny = np.zeros_like(grid.x) + (cosine * y - sine * across)
    if part.bevel:
        relief = part.distance if part.relief is None else part.relief
        edge = np.clip(1 + relief / part.bevel, 0, STEEP)
        scale = grid.unit_px / 8
        nx = nx + edge * cv2.Sobel(relief, cv2.CV_32F, 1, 0, scale=scale)
        ny = ny - edge * cv2.Sobel(relief, cv2.CV_32F, 0, 1, scale=scale)
    square = nx * nx + ny * ny
    nz = np.sqrt(np.maximum(1 - square, 0.04))
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
    hx, hy, hz = (float(value) for value in half / np.linalg.norm(half))
    peak = np.maximum(nx * hx + ny * hy + nz * hz, 0)
    for _ in range(5):  # to the power of 32
        peak *= peak
    rim = (1 - nz) ** 2 * np.clip(ny + 0.3, 0, 1)
    lit = peak * rig.sun * (1.5 * gloss)
    return np.asarray(lit + rim * rig.horizon * (0.5 * gloss), np.float32)


def _body_albedo(
    part: Part, grid: Grid, style: Style, nx: Float32Array, ny: Float32Array
) -> Float32Array:
    colour = style.paints[Paint.BODY]
    if style.material in (Material.MATTE, Material.SHINY):
        return colour
    # The pattern follows the bulge of the surface.
    flat_x, flat_y = (grid.x, grid.y) if part.texture is None else part.texture
    x, y = flat_x + 0.07 * nx, flat_y + 0.07 * ny
    cosine, sine = cos(style.turn), sin(style.turn)
    along, across = cosine * x + sine * y, cosine * y - sine * x
    share = _pattern(style, along, across, grid.unit_px)
    return np.asarray(colour + share * (style.partner - colour), np.float32)


def _pattern(style: Style, x: AnyArray, y: AnyArray, unit_px: float) -> Float32Array:
    """Share of the second colour, 0..1, antialiased."""
    period = max(style.period, 5 / unit_px)
    sharpness = period * unit_px / np.pi
    wave = 2 * np.pi / period
    if style.material is Material.STRIPED:
        return coverage(sharpness / 2 * (np.sin(wave * x) - 0.15))
    if style.material is Material.CHECKERED:
        steps = np.sin(wave / 2 * x) * np.sin(wave / 2 * y)
        return coverage(sharpness * 2 * steps)
    rows = np.floor(y / period)
    columns = x / period + rows / 2
    dx, dy = columns - np.floor(columns) - 0.5, y / period - rows - 0.5
    radius = np.sqrt(dx * dx + dy * dy) * (period * unit_px)
    return coverage(0.3 * period * unit_px - radius)
