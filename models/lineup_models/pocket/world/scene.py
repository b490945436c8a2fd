"""Scenes: what a caption tells, and where its things stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import radians
from typing import TypeVar

import numpy as np

from lineup_models.pocket.world.grammar import (
    HOURS,
    LAMPS,
    Background,
    Camera,
    Colour,
    Group,
    Kind,
    Light,
    Material,
    Relation,
    Scene,
    Size,
)

Choice = TypeVar("Choice")

PAIR_SHARE = 0.65
"""Share of scenes with two groups of things."""

COUNT_WEIGHTS = (0.5, 0.25, 0.15, 0.1)
"""Of one to four things in a group."""

CAMERA_WEIGHTS = (0.4, 0.15, 0.15, 0.15, 0.15)
"""In the order of `Camera`."""


def scene_from_seed(seed: int) -> Scene:
    """Draw a scene; the same seed (0 or above) draws the same one."""
    rng = np.random.default_rng((seed, 0x5CE2E))
    kinds = rng.permutation(len(Kind))[:2]
    colours = rng.permutation(len(Colour))[:2]
    subject, other = (
        _group(rng, list(Kind)[kind], list(Colour)[colour])
        for kind, colour in zip(kinds, colours, strict=True)
    )
    relation = _pick(rng, list(Relation))
    paired = bool(rng.random() < PAIR_SHARE)
    background = _pick(rng, list(Background))
    return Scene(
        subject=subject,
        relation=relation if paired else None,
        other=other if paired else None,
        background=background,
        light=_light(rng, background),
        camera=list(Camera)[int(rng.choice(len(Camera), p=CAMERA_WEIGHTS))],
    )


def _group(rng: np.random.Generator, kind: Kind, colour: Colour) -> Group:
    return Group(
        kind=kind,
        colour=colour,
        size=_pick(rng, list(Size)),
        material=_pick(rng, list(Material)),
        count=1 + int(rng.choice(len(COUNT_WEIGHTS), p=COUNT_WEIGHTS)),
    )


def _light(rng: np.random.Generator, background: Background) -> Light:
    if background is Background.NIGHT_SKY:
        return Light.NIGHT
    return _pick(rng, LAMPS if background.indoors else HOURS)


def _pick(rng: np.random.Generator, choices: Sequence[Choice]) -> Choice:
    return choices[int(rng.integers(len(choices)))]


SMALL = 0.55
"""Height of small things over that of large ones."""

WIDTHS = {
    Kind.CAR: 1.3,
    Kind.FISH: 1.25,
    Kind.CLOUD: 1.22,
    Kind.BOAT: 1.15,
    Kind.KITE: 0.85,
    Kind.BOTTLE: 0.7,
    Kind.CYLINDER: 0.85,
    Kind.LAMP: 0.9,
}
"""Of things over their unit, where it is not 1."""

ZOOM = {Camera.CLOSE_UP: 1.22, Camera.WIDE_SHOT: 0.62}

SLOTS: dict[int, tuple[tuple[float, float], ...]] = {
    1: ((0.0, 0.0),),
    2: ((-0.52, 0.0), (0.52, 0.0)),
    3: ((-0.56, 0.0), (0.56, 0.0), (0.0, 0.95)),
    4: ((-0.75, 0.0), (0.3, 0.0), (-0.3, 0.95), (0.75, 0.95)),
}
"""Offsets within a heap in widths of a thing: across and back."""

ROWS: dict[int, tuple[tuple[float, float], ...]] = {
    1: ((0.0, 0.0),),
    2: ((-0.55, 0.0), (0.55, 0.0)),
    3: ((-1.08, 0.0), (0.0, 0.0), (1.08, 0.0)),
    4: ((-1.62, 0.0), (-0.54, 0.0), (0.54, 0.0), (1.62, 0.0)),
}
"""The same for a row."""


@dataclass(frozen=True, slots=True)
class Placement:
    """One thing; coordinates are parts of the picture, u to the right and v down.

    Attributes:
        group: Index of its group in `Scene.groups`.
        u: Of the middle of its base; `v`, of its base.
        unit: Its height.
        angle: How far it is turned, radians.
        flip: Whether it is mirrored.
        ground_v: Where its shadow falls; its base, unless it hangs in the air.
        depth: Larger is further away; drawn first.
    """

    group: int
    u: float
    v: float
    unit: float
    angle: float
    flip: bool
    ground_v: float
    depth: float


@dataclass(frozen=True, slots=True)
class _Area:
    """Room of a group: middle, base, and the largest unit of a large thing in it."""

    u: float
    v: float
    width: float
    height: float
    air: bool
    row: bool
    depth: float


def placements_from_scene(scene: Scene, rng: np.random.Generator) -> tuple[Placement, ...]:
    """Draw where everything stands, furthest first."""
    areas = _areas(scene, rng)
    unit = _common_unit(scene.groups, areas) * float(rng.uniform(0.9, 1.0))
    placed: list[Placement] = []
    for index, (group, area) in enumerate(zip(scene.groups, areas, strict=True)):
        placed += _group_placements(index, group, area, unit, rng)
    return tuple(sorted(placed, key=lambda place: -place.depth))


def _areas(scene: Scene, rng: np.random.Generator) -> tuple[_Area, ...]:
    zoom = ZOOM.get(scene.camera, 1.0)
    if scene.other is None:
        return (_alone(scene, zoom, rng),)
    first, second = _pair(scene, zoom, rng)
    inverted = scene.relation in (Relation.RIGHT, Relation.BELOW, Relation.FRONT)
    return (second, first) if inverted else (first, second)


def _alone(scene: Scene, zoom: float, rng: np.random.Generator) -> _Area:
    air = scene.subject.kind.floats and not scene.background.indoors
    v = rng.uniform(0.6, 0.72) if air else rng.uniform(0.8, 0.92)
    u = 0.5 + rng.uniform(-1, 1) * (0.16 if scene.subject.count == 1 else 0.06)
    return _Area(float(u), float(v), 0.9, 0.52 * zoom, air, bool(rng.random() < 0.4), 0.0)


def _pair(scene: Scene, zoom: float, rng: np.random.Generator) -> tuple[_Area, _Area]:
    """Areas of a left and a right, an upper and a lower, or a hind and a front group."""
    assert scene.other is not None
    base = float(rng.uniform(0.8, 0.9))
    if scene.relation in (Relation.LEFT, Relation.RIGHT):
        spread = 0.25 if zoom >= 1 else 0.2
        middle = 0.5 + float(rng.uniform(-0.02, 0.02))
        return tuple(  # type: ignore[return-value]
            _Area(middle + side * spread, base + float(rng.uniform(-0.07, 0.04)), 0.48,
                  0.40 * zoom, False, False, 0.0)
            for side in (-1, 1)
        )  # fmt: skip
    middle = 0.5 + float(rng.uniform(-0.04, 0.04))
    if scene.relation in (Relation.ABOVE, Relation.BELOW):
        height = 0.36 * zoom if zoom < 1 else 0.38
        upper = _Area(middle, base - 0.43, 0.94, height, True, True, 0.1)
        return upper, _Area(middle, base + 0.03, 0.94, height, False, True, 0.0)
    shift = float(rng.choice([-1, 1])) * 0.1
    lower = _Area(middle + shift, 0.93, 0.9, 0.40 * zoom, False, True, 0.0)
    return _Area(middle - shift, 0.66, 0.9, 0.40 * zoom, False, True, 1.0), lower


def _common_unit(groups: Sequence[Group], areas: Sequence[_Area]) -> float:
    """Return the unit of large things, so that every group fits its area."""
    fitting = []
    for group, area in zip(groups, areas, strict=True):
        slots = _slots(group, area)
        across = 1.1 + max(x for x, _ in slots) - min(x for x, _ in slots)
        factor = 1.0 if group.size is Size.LARGE else SMALL
        room = area.width / across / factor / WIDTHS.get(group.kind, 1.0)
        fitting.append(min(area.height, room))
    return min(fitting)


def _slots(group: Group, area: _Area) -> tuple[tuple[float, float], ...]:
    return (ROWS if area.row else SLOTS)[group.count]


def _group_placements(
    index: int, group: Group, area: _Area, unit: float, rng: np.random.Generator
) -> list[Placement]:
    size = unit * (1.0 if group.size is Size.LARGE else SMALL)
    flip = bool(rng.random() < 0.5)
    mirror = -1 if rng.random() < 0.5 else 1
    width = WIDTHS.get(group.kind, 1.0)
    placed = []
    for across, back in _slots(group, area):
        own = size * float(rng.uniform(0.93, 1.03)) * (0.9 if back and not area.air else 1.0)
        jitter = rng.uniform(-0.04, 0.04, 2) * size
        u = area.u + mirror * across * size * width + jitter[0]
        v = area.v - back * size * (1.0 if area.air else 0.72) + jitter[1]
        turn = radians(float(rng.normal(0, 7 if area.air else 2)))
        floor = max(v, float(rng.uniform(0.86, 0.95))) if area.air else v
        placed.append(
            Placement(index, float(u), float(v), own, turn, flip, float(floor), area.depth + back)
        )
    return _inside(placed, width)


def _inside(placed: list[Placement], width: float) -> list[Placement]:
    """Move a group so that no thing leaves the picture at its top or sides."""
    left = min(place.u - 0.56 * width * place.unit for place in placed)
    right = max(place.u + 0.56 * width * place.unit for place in placed)
    top = min(place.v - place.unit for place in placed)
    du = max(0.02 - left, 0.0) + min(0.98 - right, 0.0)
    dv = max(0.03 - top, 0.0)
    return [replace(p, u=p.u + du, v=p.v + dv, ground_v=max(p.ground_v, p.v + dv)) for p in placed]
