"""Parts of shapes: signed distances, paint, and the solids drawn from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from math import hypot

import numpy as np

from lineup.types import AnyArray, Float32Array
from lineup_models.pocket.world.planes import Grid


class Paint(str, Enum):
    """What colours a part; the body has the colour and the material of the caption."""

    BODY = "body"
    TRIM = "trim"
    WOOD = "wood"
    DARK = "dark"
    METAL = "metal"
    CREAM = "cream"
    LEAF = "leaf"
    GLASS = "glass"
    GLOW = "glow"


@dataclass(frozen=True, slots=True)
class Part:
    """One painted surface; later parts cover earlier ones.

    Attributes:
        distance: Signed distance to the outline, float32, shape of the grid, in units.
        paint: What colours it.
        bevel: Width over which the edge is rounded, in units; 0 leaves it flat.
        relief: Signed distance that the rounding follows; None for the outline's.
        barrel: x over the half width of an upright round body, float32 -1..1; None if flat.
        tilt: x and y of the normal of a flat face.
        texture: x and y that patterns follow, float32, shape of the grid; None for the grid's.
    """

    distance: Float32Array
    paint: Paint = Paint.BODY
    bevel: float = 0.0
    relief: Float32Array | None = None
    barrel: Float32Array | None = None
    tilt: tuple[float, float] = (0.0, 0.0)
    texture: tuple[Float32Array, Float32Array] | None = None


Point = tuple[float, float]


def length(x: AnyArray, y: AnyArray) -> Float32Array:
    """Return the length of (x, y)."""
    return np.asarray(np.sqrt(x * x + y * y), np.float32)


def circle(grid: Grid, centre: Point, radius: float) -> Float32Array:
    """Disc."""
    return length(grid.x - float(centre[0]), grid.y - float(centre[1])) - radius


def ellipse(grid: Grid, centre: Point, radii: Point) -> Float32Array:
    """Ellipse along the axes; exact at the outline, first-order away from it."""
    x, y = grid.x - centre[0], grid.y - centre[1]
    a, b = radii
    scaled = length(x / a, y / b)
    slope = length(x / (a * a), y / (b * b))
    return np.asarray(scaled * (scaled - 1) / np.maximum(slope, 1e-4), np.float32)


def box(grid: Grid, centre: Point, half: Point, rounding: float = 0.0) -> Float32Array:
    """Rectangle along the axes, with rounded corners."""
    x = np.abs(grid.x - centre[0]) - (half[0] - rounding)
    y = np.abs(grid.y - centre[1]) - (half[1] - rounding)
    outside = length(np.maximum(x, 0), np.maximum(y, 0))
    return np.asarray(outside + np.minimum(np.maximum(x, y), 0) - rounding, np.float32)


def convex(grid: Grid, corners: Sequence[Point]) -> Float32Array:
    """Convex polygon, corners counter-clockwise (y up); mitred outside of the corners."""
    distance: Float32Array | None = None
    for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
        side = hypot(x1 - x0, y1 - y0)
        nx, ny = (y1 - y0) / side, (x0 - x1) / side
        plane = np.asarray(grid.x * nx + grid.y * ny - (nx * x0 + ny * y0), np.float32)
        distance = plane if distance is None else np.maximum(distance, plane)
    assert distance is not None
    return distance


def stroke(grid: Grid, start: Point, end: Point, radius: float) -> Float32Array:
    """Segment with round ends."""
    x, y = grid.x - start[0], grid.y - start[1]
    dx, dy = (end[0] - start[0]), (end[1] - start[1])
    along = np.clip((x * dx + y * dy) / (dx * dx + dy * dy), 0, 1)
    return length(x - along * dx, y - along * dy) - radius


def star(grid: Grid, centre: Point, radius: float, depth: float) -> Float32Array:
    """Five-pointed star; `depth` is the inner radius over the outer."""
    x, y = np.abs(grid.x - centre[0]), grid.y - centre[1]
    for cx, cy in ((0.809017, -0.587785), (-0.809017, -0.587785)):
        twice = 2 * np.maximum(cx * x + cy * y, 0)
        x, y = x - twice * cx, y - twice * cy
    x, y = np.abs(x), y - radius
    ex, ey = (0.587785 * depth), (0.809017 * depth - 1)
    along = np.clip((x * ex + y * ey) / (ex * ex + ey * ey), 0, radius)
    side = np.sign(y * ex - x * ey)
    return np.asarray(length(x - ex * along, y - ey * along) * side, np.float32)


def union(*distances: Float32Array, blend: float = 0.0) -> Float32Array:
    """Union; the seams are rounded over `blend` units."""
    joined = distances[0]
    for distance in distances[1:]:
        if blend:
            share = np.maximum(blend - np.abs(joined - distance), 0) / blend
            joined = np.minimum(joined, distance) - share * share * (blend / 4)
        else:
            joined = np.minimum(joined, distance)
    return joined


def hollow(distance: Float32Array, half_width: float) -> Float32Array:
    """Band of twice this width along an outline."""
    return np.asarray(np.abs(distance) - half_width, np.float32)


def ball(grid: Grid, rng: np.random.Generator) -> list[Part]:
    """A sphere."""
    radius = float(rng.uniform(0.44, 0.5))
    return [Part(circle(grid, (0, radius), radius), bevel=radius)]


def cube(grid: Grid, rng: np.random.Generator) -> list[Part]:
    """Three faces in oblique projection."""
    deep = float(rng.uniform(0.16, 0.28))
    low, high = -0.5 + deep * 0.1, 0.5 - deep
    side = high - low
    shift, lift = deep, deep * float(rng.uniform(0.7, 1.0))
    front = convex(grid, [(low, 0), (high, 0), (high, side), (low, side)])
    right = convex(
        grid, [(high, 0), (high + shift, lift), (high + shift, side + lift), (high, side)]
    )
    top = convex(
        grid, [(low, side), (high, side), (high + shift, side + lift), (low + shift, side + lift)]
    )
    # The patterns of the slanted faces are slanted with them.
    beside = ((grid.x - high) / shift * side + high, grid.y - (grid.x - high) * (lift / shift))
    above = (grid.x - (grid.y - side) * (shift / lift), (grid.y - side) / lift * side + side)
    return [
        Part(right, tilt=(0.85, 0.0), texture=beside),
        Part(top, tilt=(0.0, 0.85), texture=above),
        Part(front, bevel=0.02, tilt=(-0.1, 0.0)),
    ]


def cone(grid: Grid, rng: np.random.Generator) -> list[Part]:
    """An upright cone, seen from a little above."""
    half, tall = float(rng.uniform(0.34, 0.46)), float(rng.uniform(0.85, 1.0))
    sides = convex(grid, [(-half, 0.08), (half, 0.08), (0, tall)])
    foot = ellipse(grid, (0, 0.08), (half, 0.08))
    barrel = grid.x / np.maximum((tall - grid.y) * (half / tall), 0.02)
    return [Part(union(sides, foot), barrel=np.clip(barrel, -1, 1), tilt=(0.0, 0.25))]


def cylinder(grid: Grid, rng: np.random.Generator) -> list[Part]:
    """An upright cylinder with its lid."""
    half, tall = float(rng.uniform(0.28, 0.38)), float(rng.uniform(0.75, 0.9))
    flat = half * 0.26
    wall = box(grid, (0, (tall + flat) / 2), (half, (tall - flat) / 2))
    body = union(
        wall, ellipse(grid, (0, flat), (half, flat)), ellipse(grid, (0, tall), (half, flat))
    )
    barrel = np.clip(grid.x / half, -1, 1)
    return [
        Part(body, barrel=barrel),
        Part(ellipse(grid, (0, tall), (half * 0.99, flat)), tilt=(0.0, 0.9)),
    ]


def ring(grid: Grid, rng: np.random.Generator) -> list[Part]:
    """An upright torus."""
    tube = float(rng.uniform(0.09, 0.15))
    return [Part(hollow(circle(grid, (0, 0.5), 0.5 - tube), tube), bevel=tube)]


def star_shape(grid: Grid, rng: np.random.Generator) -> list[Part]:
    """A puffed five-pointed star."""
    return [Part(star(grid, (0, 0.48), 0.52, float(rng.uniform(0.42, 0.55))), bevel=0.16)]


def moon(grid: Grid, rng: np.random.Generator) -> list[Part]:
    """A crescent."""
    bite = float(rng.uniform(0.18, 0.28))
    body = circle(grid, (0, 0.5), 0.48)
    bitten = circle(grid, (bite, 0.5 + bite / 2), 0.42)
    return [Part(np.maximum(body, -bitten), bevel=0.16)]


def cloud(grid: Grid, rng: np.random.Generator) -> list[Part]:
    """A heap of puffs with a flat base."""
    shifts = rng.uniform(-0.04, 0.04, 5)
    puffs = [
        circle(grid, (-0.4, 0.34 + shifts[0]), 0.19),
        circle(grid, (-0.14 + shifts[1], 0.48), 0.26),
        circle(grid, (0.16 + shifts[2], 0.5 + shifts[3]), 0.22),
        circle(grid, (0.42, 0.34 + shifts[4]), 0.18),
        box(grid, (0, 0.28), (0.5, 0.12), 0.12),
    ]
    return [Part(union(*puffs, blend=0.12), bevel=0.24)]


def heart(grid: Grid, rng: np.random.Generator) -> list[Part]:
    """A puffed heart."""
    wide = float(rng.uniform(0.23, 0.26))
    lobes = [circle(grid, (side * wide, 0.66), 0.27) for side in (-1, 1)]
    edge = wide + 0.195
    tip = convex(grid, [(0, 0.04), (edge, 0.475), (0, 0.85), (-edge, 0.475)])
    return [Part(union(*lobes, tip, blend=0.12), bevel=0.24)]
