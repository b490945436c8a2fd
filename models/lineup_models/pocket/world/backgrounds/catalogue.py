"""Which function paints which place, and where its horizon lies."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lineup.types import Float32Array
from lineup_models.pocket.world.backgrounds import built, outdoors
from lineup_models.pocket.world.backgrounds.sky import Setting
from lineup_models.pocket.world.grammar import Background

Painter = Callable[[Setting], Float32Array]
"""Paints a place, float32 (3, size, size), linear RGB."""

PLACES: Mapping[Background, tuple[Painter, tuple[float, float]]] = {
    Background.MEADOW: (outdoors.meadow, (0.4, 0.56)),
    Background.DESERT: (outdoors.desert, (0.4, 0.56)),
    Background.SEA: (outdoors.sea, (0.38, 0.55)),
    Background.SNOW: (outdoors.snow, (0.4, 0.56)),
    Background.FOREST: (built.forest, (0.5, 0.6)),
    Background.CITY: (built.city, (0.5, 0.6)),
    Background.MOUNTAINS: (outdoors.mountains, (0.48, 0.6)),
    Background.NIGHT_SKY: (outdoors.night_sky, (0.55, 0.64)),
    Background.TABLE: (built.table, (0.4, 0.55)),
    Background.WALL: (built.wall, (0.56, 0.64)),
    Background.STUDIO: (built.studio, (0.5, 0.62)),
}
"""Painter and range of the horizon's v."""
