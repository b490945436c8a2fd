"""Parts: what a thing is drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from lineup.types import Float32Array


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
