"""Which function draws which kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from lineup_models.pocket.world.frame import Grid
from lineup_models.pocket.world.grammar import Kind
from lineup_models.pocket.world.shapes import objects, solids
from lineup_models.pocket.world.shapes.parts import Part

Shape = Callable[[Grid, np.random.Generator], list[Part]]
"""Draws a thing on a grid; the generator gives its proportions."""

SHAPES: Mapping[Kind, Shape] = {
    Kind.BALL: solids.ball,
    Kind.CUBE: solids.cube,
    Kind.CONE: solids.cone,
    Kind.CYLINDER: solids.cylinder,
    Kind.RING: solids.ring,
    Kind.HOUSE: objects.house,
    Kind.TREE: objects.tree,
    Kind.CAR: objects.car,
    Kind.BOAT: objects.boat,
    Kind.MUSHROOM: objects.mushroom,
    Kind.STAR: solids.star_shape,
    Kind.FISH: objects.fish,
    Kind.CUP: objects.cup,
    Kind.LAMP: objects.lamp,
    Kind.FLOWER: objects.flower,
    Kind.KITE: objects.kite,
    Kind.MOON: solids.moon,
    Kind.CLOUD: solids.cloud,
    Kind.HEART: solids.heart,
    Kind.BOTTLE: objects.bottle,
}
