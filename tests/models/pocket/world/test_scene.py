from __future__ import annotations

from lineup_models.pocket.world.grammar import (
    Background,
    Camera,
    Colour,
    Kind,
    Light,
    Relation,
)
from lineup_models.pocket.world.scene import scene_from_seed

SCENES = [scene_from_seed(seed) for seed in range(400)]


def test_a_seed_gives_one_scene() -> None:
    assert scene_from_seed(7) == scene_from_seed(7)
    assert len(set(SCENES)) > 395


def test_everything_of_the_grammar_occurs() -> None:
    groups = [group for scene in SCENES for group in scene.groups]

    assert {group.kind for group in groups} == set(Kind)
    assert {group.colour for group in groups} == set(Colour)
    assert {group.count for group in groups} == {1, 2, 3, 4}
    assert {scene.background for scene in SCENES} == set(Background)
    assert {scene.light for scene in SCENES} == set(Light)
    assert {scene.camera for scene in SCENES} == set(Camera)
    assert {scene.relation for scene in SCENES} == {*Relation, None}


def test_two_groups_differ_in_kind_and_colour() -> None:
    for scene in SCENES:
        assert (scene.other is None) == (scene.relation is None)
        if scene.other is not None:
            assert scene.subject.kind is not scene.other.kind
            assert scene.subject.colour is not scene.other.colour


def test_lamps_shine_indoors_and_hours_pass_outdoors() -> None:
    lamps = {Light.FROM_LEFT, Light.FROM_RIGHT}

    for scene in SCENES:
        assert (scene.light in lamps) == scene.background.indoors
        if scene.background is Background.NIGHT_SKY:
            assert scene.light is Light.NIGHT


def test_relations_invert() -> None:
    for relation in Relation:
        assert relation.inverse is not relation
        assert relation.inverse.inverse is relation
