from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from lineup_models.pocket.world.grammar import Camera, Kind, Relation, Scene, Size
from lineup_models.pocket.world.scene import (
    Placement,
    placements_from_scene,
    scene_from_seed,
)

SCENES = [scene_from_seed(seed) for seed in range(300)]
PAIRS = [scene for scene in SCENES if scene.other is not None]


def placed(scene: Scene, seed: int = 0) -> tuple[Placement, ...]:
    return placements_from_scene(scene, np.random.default_rng(seed))


def test_as_many_things_stand_there_as_the_scene_counts() -> None:
    for scene in SCENES:
        counts = Counter(place.group for place in placed(scene))
        assert counts == {index: group.count for index, group in enumerate(scene.groups)}


def test_things_of_a_group_stand_apart() -> None:
    for scene in SCENES:
        for index in range(len(scene.groups)):
            own = [place for place in placed(scene) if place.group == index]
            for first in own:
                for second in own:
                    if first is not second:
                        apart = np.hypot(first.u - second.u, first.v - second.v)
                        assert apart > 0.6 * first.unit


@pytest.mark.parametrize("relation", list(Relation))
def test_the_relation_holds(relation: Relation) -> None:
    for seed, pair in enumerate(PAIRS):
        places = placed(replace(pair, relation=relation), seed)
        own = [place for place in places if place.group == 0]
        other = [place for place in places if place.group == 1]
        match relation:
            case Relation.LEFT:
                assert max(p.u for p in own) < min(p.u for p in other)
            case Relation.RIGHT:
                assert min(p.u for p in own) > max(p.u for p in other)
            case Relation.ABOVE:
                assert max(p.v for p in own) < min(p.v - p.unit for p in other) + 0.1
            case Relation.BELOW:
                assert min(p.v - p.unit for p in own) > max(p.v for p in other) - 0.1
            case Relation.BEHIND:
                assert max(p.v for p in own) < min(p.v for p in other)
                assert places.index(own[-1]) < places.index(other[0])
            case Relation.FRONT:
                assert min(p.v for p in own) > max(p.v for p in other)
                assert places.index(other[-1]) < places.index(own[0])


def test_large_things_are_larger_than_small_ones_of_the_picture() -> None:
    for scene in PAIRS:
        assert scene.other is not None
        mixed = replace(
            scene,
            subject=replace(scene.subject, size=Size.LARGE),
            other=replace(scene.other, size=Size.SMALL),
        )
        places = placed(mixed)
        large = min(place.unit for place in places if place.group == 0)
        small = max(place.unit for place in places if place.group == 1)
        assert large > 1.2 * small


def test_a_wide_shot_shows_things_smaller_than_a_close_up() -> None:
    alone = next(s for s in SCENES if s.other is None and s.subject.count == 1)

    near = placed(replace(alone, camera=Camera.CLOSE_UP))
    far = placed(replace(alone, camera=Camera.WIDE_SHOT))

    assert near[0].unit > 1.5 * far[0].unit


def test_everything_is_inside_of_the_picture() -> None:
    for seed, scene in enumerate(SCENES):
        for place in placed(scene, seed):
            assert 0 < place.u < 1
            assert place.v <= 1.0
            assert place.v - place.unit >= 0
            assert place.ground_v >= place.v
            assert place.unit > 0.05


def test_a_kite_flies_outdoors() -> None:
    scene = next(s for s in SCENES if s.other is None and not s.background.indoors)
    kite = replace(scene, subject=replace(scene.subject, kind=Kind.KITE, count=1))

    assert any(placed(kite, seed)[0].ground_v > placed(kite, seed)[0].v for seed in range(5))
