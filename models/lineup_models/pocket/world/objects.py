"""Solids and everyday things, and which function draws which kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from math import cos, pi, sin

import numpy as np

from lineup_models.pocket.world.grammar import Kind
from lineup_models.pocket.world.planes import Grid
from lineup_models.pocket.world.solids import (
    Paint,
    Part,
    barrel,
    box,
    circle,
    convex,
    ellipse,
    hollow,
    star,
    stroke,
    taper,
    union,
)


def _ball(grid: Grid, rng: np.random.Generator) -> list[Part]:
    radius = float(rng.uniform(0.44, 0.5))
    return [Part(circle(grid, (0, radius), radius), bevel=radius)]


def _cube(grid: Grid, rng: np.random.Generator) -> list[Part]:
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


def _cone(grid: Grid, rng: np.random.Generator) -> list[Part]:
    """An upright cone, seen from a little above."""
    half, tall = float(rng.uniform(0.34, 0.46)), float(rng.uniform(0.85, 1.0))
    sides = convex(grid, [(-half, 0.08), (half, 0.08), (0, tall)])
    foot = ellipse(grid, (0, 0.08), (half, 0.08))
    width = np.maximum((tall - grid.y) * (half / tall), 0.02)
    return [Part(union(sides, foot), barrel=barrel(grid, width), tilt=(0.0, 0.25))]


def _cylinder(grid: Grid, rng: np.random.Generator) -> list[Part]:
    half, tall = float(rng.uniform(0.28, 0.38)), float(rng.uniform(0.75, 0.9))
    flat = half * 0.26
    wall = box(grid, (0, (tall + flat) / 2), (half, (tall - flat) / 2))
    ends = [ellipse(grid, (0, y), (half, flat)) for y in (flat, tall)]
    body = union(wall, *ends)
    return [
        Part(body, barrel=barrel(grid, half)),
        Part(ellipse(grid, (0, tall), (half * 0.99, flat)), tilt=(0.0, 0.9)),
    ]


def _ring(grid: Grid, rng: np.random.Generator) -> list[Part]:
    tube = float(rng.uniform(0.09, 0.15))
    return [Part(hollow(circle(grid, (0, 0.5), 0.5 - tube), tube), bevel=tube)]


def _star_shape(grid: Grid, rng: np.random.Generator) -> list[Part]:
    return [Part(star(grid, (0, 0.48), 0.52, float(rng.uniform(0.42, 0.55))), bevel=0.16)]


def _moon(grid: Grid, rng: np.random.Generator) -> list[Part]:
    bite = float(rng.uniform(0.18, 0.28))
    body = circle(grid, (0, 0.5), 0.48)
    bitten = circle(grid, (bite, 0.5 + bite / 2), 0.42)
    return [Part(np.maximum(body, -bitten), bevel=0.16)]


def _cloud(grid: Grid, rng: np.random.Generator) -> list[Part]:
    shifts = rng.uniform(-0.04, 0.04, 5)
    puffs = [
        circle(grid, (-0.4, 0.34 + shifts[0]), 0.19),
        circle(grid, (-0.14 + shifts[1], 0.48), 0.26),
        circle(grid, (0.16 + shifts[2], 0.5 + shifts[3]), 0.22),
        circle(grid, (0.42, 0.34 + shifts[4]), 0.18),
        box(grid, (0, 0.28), (0.5, 0.12), 0.12),
    ]
    return [Part(union(*puffs, blend=0.12), bevel=0.24)]


def _heart(grid: Grid, rng: np.random.Generator) -> list[Part]:
    wide = float(rng.uniform(0.23, 0.26))
    lobes = [circle(grid, (side * wide, 0.66), 0.27) for side in (-1, 1)]
    edge = wide + 0.195
    tip = convex(grid, [(0, 0.04), (edge, 0.475), (0, 0.85), (-edge, 0.475)])
    return [Part(union(*lobes, tip, blend=0.12), bevel=0.24)]


def _house(grid: Grid, rng: np.random.Generator) -> list[Part]:
    half, wall = float(rng.uniform(0.36, 0.44)), float(rng.uniform(0.5, 0.58))
    eaves, ridge = half + 0.07, float(rng.uniform(0.9, 1.0))
    door = float(rng.choice([-0.18, 0.0, 0.18]))
    parts = [
        Part(box(grid, (0.2, 0.84), (0.06, 0.14)), Paint.TRIM, tilt=(0.2, 0.0)),
        Part(box(grid, (0, wall / 2), (half, wall / 2)), bevel=0.015),
        Part(
            taper(grid, (eaves, wall - 0.03), (0.1, ridge)),
            Paint.TRIM,
            tilt=(0.0, 0.45),
        ),
        Part(box(grid, (door, 0.16), (0.075, 0.16)), Paint.WOOD, bevel=0.01),
    ]
    for x in (-0.24, 0.0, 0.24):
        if abs(x - door) > 0.16:
            parts.append(Part(box(grid, (x, 0.32), (0.085, 0.085)), Paint.CREAM))
            parts.append(Part(box(grid, (x, 0.32), (0.06, 0.06)), Paint.GLASS))
    return parts


def _tree(grid: Grid, rng: np.random.Generator) -> list[Part]:
    """A trunk and a crown in the caption's colour, round or pointed."""
    trunk = taper(grid, (0.07, 0), (0.045, 0.5))
    parts = [Part(trunk, Paint.WOOD, barrel=barrel(grid, 0.07))]
    if rng.random() < 0.4:
        for foot, wide in ((0.22, 0.4), (0.45, 0.32), (0.66, 0.23)):
            tier = convex(grid, [(-wide, foot), (wide, foot), (0, foot + 0.36)])
            parts.append(Part(tier, bevel=0.14, tilt=(0.0, 0.2)))
        return parts
    shifts = rng.uniform(-0.04, 0.04, 4)
    crown = union(
        circle(grid, (-0.19, 0.56 + shifts[0]), 0.21),
        circle(grid, (0.19 + shifts[1], 0.58), 0.21),
        circle(grid, (0.02 + shifts[2], 0.75), 0.24),
        circle(grid, (0.0, 0.5 + shifts[3]), 0.2),
        blend=0.08,
    )
    return [*parts, Part(crown, bevel=0.3)]


def _car(grid: Grid, rng: np.random.Generator) -> list[Part]:
    roof = float(rng.uniform(0.5, 0.58))
    cabin = convex(grid, [(-0.4, 0.28), (0.32, 0.28), (0.16, roof), (-0.28, roof)])
    glass = convex(grid, [(-0.33, 0.33), (0.25, 0.33), (0.14, roof - 0.05), (-0.25, roof - 0.05)])
    lower = box(grid, (0, 0.24), (0.62, 0.13), 0.08)
    parts = [
        Part(union(cabin, lower, blend=0.05), bevel=0.07),
        Part(glass, Paint.GLASS),
        Part(box(grid, (-0.05, 0.42), (0.02, 0.12))),
        Part(circle(grid, (0.57, 0.26), 0.035), Paint.GLOW),
    ]
    for x in (-0.34, 0.36):
        parts.append(Part(circle(grid, (x, 0.13), 0.13), Paint.DARK, bevel=0.05))
        parts.append(Part(circle(grid, (x, 0.13), 0.06), Paint.METAL, bevel=0.03))
    return parts


def _boat(grid: Grid, rng: np.random.Generator) -> list[Part]:
    top = float(rng.uniform(0.24, 0.3))
    hull = convex(grid, [(-0.36, 0), (0.34, 0), (0.58, top), (-0.52, top)])
    sail = convex(grid, [(0.03, top + 0.06), (0.44, top + 0.08), (0.03, 0.98)])
    jib = convex(grid, [(-0.4, top + 0.06), (-0.03, top + 0.06), (-0.03, 0.88)])
    return [
        Part(stroke(grid, (0, top), (0, 1.0), 0.02), Paint.WOOD),
        Part(sail, Paint.CREAM, bevel=0.12, tilt=(0.2, 0.0)),
        Part(jib, Paint.CREAM, bevel=0.12, tilt=(-0.1, 0.0)),
        Part(hull, bevel=0.1, tilt=(0.0, -0.15)),
        Part(box(grid, (0.03, top - 0.015), (0.54, 0.02)), Paint.WOOD),
    ]


def _mushroom(grid: Grid, rng: np.random.Generator) -> list[Part]:
    stem = float(rng.uniform(0.1, 0.14))
    dome = ellipse(grid, (0, 0.5), (0.48, 0.46))
    cap = np.maximum(dome, ellipse(grid, (0, 1.05), (0.9, 0.62)))
    return [
        Part(
            taper(grid, (stem + 0.04, 0), (stem, 0.6)),
            Paint.CREAM,
            barrel=barrel(grid, stem + 0.04),
        ),
        Part(ellipse(grid, (0, 0.52), (0.42, 0.09)), Paint.CREAM, tilt=(0.0, -0.8)),
        Part(cap, bevel=0.42, relief=dome, tilt=(0.0, 0.1)),
    ]


def _fish(grid: Grid, rng: np.random.Generator) -> list[Part]:
    """A fish looking to the right."""
    tall = float(rng.uniform(0.22, 0.3))
    tail = union(
        convex(grid, [(-0.3, 0.42), (-0.54, 0.43), (-0.64, 0.66)][::-1]),
        convex(grid, [(-0.3, 0.42), (-0.54, 0.41), (-0.64, 0.18)]),
    )
    fin = convex(grid, [(-0.14, 0.6), (0.14, 0.6), (-0.1, 0.42 + tall + 0.13)])
    return [
        Part(union(tail, fin), bevel=0.05),
        Part(ellipse(grid, (0.06, 0.42), (0.46, tall)), bevel=tall),
        Part(convex(grid, [(0.04, 0.38), (-0.16, 0.44), (-0.16, 0.28)][::-1]), bevel=0.04),
        Part(circle(grid, (0.34, 0.48), 0.05), Paint.CREAM),
        Part(circle(grid, (0.35, 0.48), 0.028), Paint.DARK),
    ]


def _cup(grid: Grid, rng: np.random.Generator) -> list[Part]:
    top, foot = float(rng.uniform(0.32, 0.38)), float(rng.uniform(0.22, 0.3))
    handle = hollow(ellipse(grid, (top - 0.02, 0.42), (0.2, 0.21)), 0.045)
    sides = taper(grid, (foot, 0.06), (top, 0.78))
    body = union(
        sides, ellipse(grid, (0, 0.06), (foot, 0.06)), ellipse(grid, (0, 0.78), (top, 0.1))
    )
    width = foot + (top - foot) * np.clip(grid.y, 0, 0.8) / 0.8
    return [
        Part(handle, bevel=0.045),
        Part(body, barrel=barrel(grid, width)),
        Part(ellipse(grid, (0, 0.78), (top * 0.93, 0.08)), Paint.CREAM, tilt=(0.0, -0.6)),
        Part(ellipse(grid, (0, 0.755), (top * 0.82, 0.055)), Paint.WOOD, tilt=(0.0, 0.4)),
    ]


def _lamp(grid: Grid, rng: np.random.Generator) -> list[Part]:
    top, low = float(rng.uniform(0.16, 0.24)), float(rng.uniform(0.34, 0.42))
    shade = taper(grid, (low, 0.52), (top, 0.98))
    width = low + (top - low) * np.clip(grid.y - 0.52, 0, 0.46) / 0.46
    return [
        Part(ellipse(grid, (0, 0.05), (0.24, 0.06)), Paint.METAL, bevel=0.05, tilt=(0.0, 0.3)),
        Part(stroke(grid, (0, 0.06), (0, 0.6), 0.03), Paint.METAL, barrel=barrel(grid, 0.03)),
        Part(ellipse(grid, (0, 0.525), (low * 0.9, 0.05)), Paint.GLOW),
        Part(shade, barrel=barrel(grid, width)),
    ]


def _flower(grid: Grid, rng: np.random.Generator) -> list[Part]:
    petals, turn = int(rng.integers(5, 9)), float(rng.uniform(0, pi))
    radius = 0.62 / petals + 0.035
    around = [turn + 2 * pi * index / petals for index in range(petals)]
    blossom = union(
        *[circle(grid, (0.2 * cos(a), 0.68 + 0.2 * sin(a)), radius) for a in around], blend=0.01
    )
    leaf = ellipse(grid, (0.12, 0.2), (0.13, 0.05))
    return [
        Part(stroke(grid, (0, 0), (0, 0.62), 0.025), Paint.LEAF, bevel=0.025),
        Part(union(leaf, ellipse(grid, (-0.12, 0.28), (0.13, 0.05))), Paint.LEAF, bevel=0.04),
        Part(blossom, bevel=0.1),
        Part(circle(grid, (0, 0.68), 0.11), Paint.GLOW, bevel=0.09),
    ]


def _kite(grid: Grid, rng: np.random.Generator) -> list[Part]:
    half = float(rng.uniform(0.33, 0.4))
    sail = convex(grid, [(0, 0.12), (half, 0.66), (0, 1.0), (-half, 0.66)])
    swing = float(rng.uniform(0.08, 0.16))
    knots = [(0.0, 0.12), (swing, 0.0), (-swing / 2, -0.11), (swing / 2, -0.23)]
    tail = [stroke(grid, a, b, 0.012) for a, b in pairwise(knots)]
    bows = [ellipse(grid, knot, (0.055, 0.03)) for knot in knots[1:]]
    return [
        Part(union(*tail), Paint.DARK),
        Part(union(*bows), Paint.TRIM, bevel=0.03),
        Part(sail, bevel=0.05),
        Part(stroke(grid, (0, 0.14), (0, 0.98), 0.01), Paint.WOOD),
        Part(stroke(grid, (-half + 0.02, 0.66), (half - 0.02, 0.66), 0.01), Paint.WOOD),
    ]


def _bottle(grid: Grid, rng: np.random.Generator) -> list[Part]:
    half, shoulder = float(rng.uniform(0.18, 0.24)), float(rng.uniform(0.5, 0.6))
    neck = half * 0.4
    body = union(
        box(grid, (0, shoulder / 2), (half, shoulder / 2), 0.05),
        box(grid, (0, 0.68), (neck, 0.24), 0.02),
        blend=0.3,
    )
    width = np.where(grid.y < shoulder, half, neck * 1.3).astype(np.float32)
    parts = [
        Part(box(grid, (0, 0.94), (neck * 0.8, 0.06), 0.02), Paint.WOOD, bevel=0.03),
        Part(body, barrel=np.clip(grid.x / width, -0.9, 0.9)),
    ]
    if rng.random() < 0.5:
        label = box(grid, (0, shoulder * 0.45), (half * 0.98, 0.09))
        parts.append(Part(label, Paint.CREAM, barrel=barrel(grid, half)))
    return parts


Shape = Callable[[Grid, np.random.Generator], list[Part]]
"""Draws a thing on a grid; the generator gives its proportions."""

SHAPES: Mapping[Kind, Shape] = {
    Kind.BALL: _ball,
    Kind.CUBE: _cube,
    Kind.CONE: _cone,
    Kind.CYLINDER: _cylinder,
    Kind.RING: _ring,
    Kind.HOUSE: _house,
    Kind.TREE: _tree,
    Kind.CAR: _car,
    Kind.BOAT: _boat,
    Kind.MUSHROOM: _mushroom,
    Kind.STAR: _star_shape,
    Kind.FISH: _fish,
    Kind.CUP: _cup,
    Kind.LAMP: _lamp,
    Kind.FLOWER: _flower,
    Kind.KITE: _kite,
    Kind.MOON: _moon,
    Kind.CLOUD: _cloud,
    Kind.HEART: _heart,
    Kind.BOTTLE: _bottle,
}
