"""Parts of shapes: their paint, and signed distances to outlines, float32, in units of a grid."""

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


def taper(grid: Grid, foot: Point, top: Point) -> Float32Array:
    """Symmetric trapezoid; half its width and y, below and above."""
    (low, y0), (high, y1) = foot, top
    return convex(grid, [(-low, y0), (low, y0), (high, y1), (-high, y1)])


def barrel(grid: Grid, half: AnyArray | float) -> Float32Array:
    """Return x over the half width of an upright round body, -1..1."""
    return np.asarray(np.clip(grid.x / half, -1, 1), np.float32)


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
