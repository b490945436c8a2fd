"""Simple bodies: ball, cube, cone, cylinder, ring, star, moon, cloud, heart."""

from __future__ import annotations

import numpy as np

from lineup_models.pocket.world.frame import Grid
from lineup_models.pocket.world.shapes.distances import (
    box,
    circle,
    convex,
    ellipse,
    hollow,
    star,
    union,
)
from lineup_models.pocket.world.shapes.parts import Part


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
