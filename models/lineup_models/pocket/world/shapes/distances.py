"""Signed distances: negative inside, positive outside, in units of the grid.

After I. Quilez, "2D distance functions" (iquilezles.org/articles/distfunctions2d).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot

import numpy as np

from lineup.types import Float32Array
from lineup_models.pocket.world.frame import Grid

Point = tuple[float, float]


def length(x: Float32Array, y: Float32Array) -> Float32Array:
    """Return the length of (x, y)."""
    return np.sqrt(x * x + y * y)


def circle(grid: Grid, centre: Point, radius: float) -> Float32Array:
    """Disc."""
    return length(grid.x - np.float32(centre[0]), grid.y - np.float32(centre[1])) - np.float32(
        radius
    )


def ellipse(grid: Grid, centre: Point, radii: Point) -> Float32Array:
    """Ellipse along the axes; exact at the outline, first-order away from it."""
    x, y = grid.x - np.float32(centre[0]), grid.y - np.float32(centre[1])
    a, b = np.float32(radii[0]), np.float32(radii[1])
    scaled = length(x / a, y / b)
    slope = length(x / (a * a), y / (b * b))
    return scaled * (scaled - 1) / np.maximum(slope, np.float32(1e-4))


def box(grid: Grid, centre: Point, half: Point, rounding: float = 0.0) -> Float32Array:
    """Rectangle along the axes, with rounded corners."""
    x = np.abs(grid.x - np.float32(centre[0])) - np.float32(half[0] - rounding)
    y = np.abs(grid.y - np.float32(centre[1])) - np.float32(half[1] - rounding)
    outside = length(np.maximum(x, 0), np.maximum(y, 0))
    return outside + np.minimum(np.maximum(x, y), 0) - np.float32(rounding)


def convex(grid: Grid, corners: Sequence[Point]) -> Float32Array:
    """Convex polygon, corners counter-clockwise (y up); mitred outside of the corners."""
    distance: Float32Array | None = None
    for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
        side = hypot(x1 - x0, y1 - y0)
        nx, ny = (y1 - y0) / side, (x0 - x1) / side
        plane = grid.x * np.float32(nx) + grid.y * np.float32(ny) - np.float32(nx * x0 + ny * y0)
        distance = plane if distance is None else np.maximum(distance, plane)
    assert distance is not None
    return distance


def stroke(grid: Grid, start: Point, end: Point, radius: float) -> Float32Array:
    """Segment with round ends."""
    x, y = grid.x - np.float32(start[0]), grid.y - np.float32(start[1])
    dx, dy = np.float32(end[0] - start[0]), np.float32(end[1] - start[1])
    along = np.clip((x * dx + y * dy) / (dx * dx + dy * dy), 0, 1)
    return length(x - along * dx, y - along * dy) - np.float32(radius)


def star(grid: Grid, centre: Point, radius: float, depth: float) -> Float32Array:
    """Five-pointed star; `depth` is the inner radius over the outer."""
    x, y = np.abs(grid.x - np.float32(centre[0])), grid.y - np.float32(centre[1])
    for cx, cy in ((0.809017, -0.587785), (-0.809017, -0.587785)):
        twice = 2 * np.maximum(np.float32(cx) * x + np.float32(cy) * y, 0)
        x, y = x - twice * np.float32(cx), y - twice * np.float32(cy)
    x, y = np.abs(x), y - np.float32(radius)
    ex, ey = np.float32(0.587785 * depth), np.float32(0.809017 * depth - 1)
    along = np.clip((x * ex + y * ey) / (ex * ex + ey * ey), 0, np.float32(radius))
    return length(x - ex * along, y - ey * along) * np.sign(y * ex - x * ey)


def union(*distances: Float32Array, blend: float = 0.0) -> Float32Array:
    """Union; the seams are rounded over `blend` units."""
    joined = distances[0]
    for distance in distances[1:]:
        if blend:
            share = np.maximum(blend - np.abs(joined - distance), 0) / np.float32(blend)
            joined = np.minimum(joined, distance) - share * share * np.float32(blend / 4)
        else:
            joined = np.minimum(joined, distance)
    return joined
