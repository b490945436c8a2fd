"""A scene: what a caption tells, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from lineup_models.pocket.world.captions import captions_from_scene
from lineup_models.pocket.world.grammar import (
    HOURS,
    LAMPS,
    Background,
    Camera,
    Colour,
    Kind,
    Light,
    Material,
    Relation,
    Size,
)

Choice = TypeVar("Choice")

PAIR_SHARE = 0.65
"""Share of scenes with two groups of things."""

COUNT_WEIGHTS = (0.5, 0.25, 0.15, 0.1)
"""Of one to four things in a group."""

CAMERA_WEIGHTS = (0.4, 0.15, 0.15, 0.15, 0.15)
"""In the order of `Camera`."""


@dataclass(frozen=True, slots=True)
class Group:
    """Equal things that stand together.

    Attributes:
        kind: What they are.
        colour: Of their bodies.
        size: Compared with the other group.
        material: Surface of their bodies.
        count: How many, 1 to 4.
    """

    kind: Kind
    colour: Colour
    size: Size
    material: Material
    count: int


@dataclass(frozen=True, slots=True)
class Scene:
    """One scene; pictures of it differ in everything that is not said here.

    Attributes:
        subject: What the picture shows first.
        relation: Where the subject is, seen from the other group; None without one.
        other: Second group, of another kind and colour; None without one.
        background: The place.
        light: Hour outdoors, side of the lamp indoors.
        camera: How it is seen.
    """

    subject: Group
    relation: Relation | None
    other: Group | None
    background: Background
    light: Light
    camera: Camera

    def captions(self) -> tuple[str, ...]:
        """Return true captions, the full one first, then shorter ones; none twice."""
        return captions_from_scene(self)

    @property
    def groups(self) -> tuple[Group, ...]:
        """The subject, then the other group if there is one."""
        return (self.subject,) if self.other is None else (self.subject, self.other)


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
