from __future__ import annotations

from dataclasses import replace

import pytest

from lineup_models.pocket.world.grammar import (
    VOCABULARY,
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
from lineup_models.pocket.world.scene import scene_from_seed

BALL = Group(Kind.BALL, Colour.RED, Size.LARGE, Material.STRIPED, 1)
CUBES = Group(Kind.CUBE, Colour.BLUE, Size.SMALL, Material.MATTE, 2)
PAIR = Scene(BALL, Relation.LEFT, CUBES, Background.MEADOW, Light.EVENING, Camera.CLOSE_UP)
SCENES = [scene_from_seed(seed) for seed in range(400)]


def words_from_caption(caption: str) -> list[str]:
    return caption.replace(",", " ").split()


def test_the_first_caption_tells_everything() -> None:
    assert PAIR.captions()[0] == (
        "a large red striped ball left of two small blue matte cubes"
        " on a meadow in the evening, close up"
    )


def test_a_scene_of_one_group_has_no_relation() -> None:
    alone = replace(PAIR, relation=None, other=None, camera=Camera.ORDINARY)

    assert alone.captions()[0] == "a large red striped ball on a meadow in the evening"


def test_an_article_fits_its_word() -> None:
    orange = replace(BALL, colour=Colour.ORANGE)

    captions = replace(PAIR, relation=None, other=None, subject=orange).captions()

    assert any(caption.startswith("an orange ball") for caption in captions)


def test_the_inverse_relation_is_told_from_the_other_group() -> None:
    inverse = PAIR.captions()[1]

    assert inverse.startswith("two small blue matte cubes right of a large red striped ball")


def test_the_same_scene_has_the_same_captions() -> None:
    assert scene_from_seed(3).captions() == scene_from_seed(3).captions()
    assert scene_from_seed(3).captions() != scene_from_seed(4).captions()


def test_a_night_sky_needs_no_hour() -> None:
    night = replace(PAIR, background=Background.NIGHT_SKY, light=Light.NIGHT)

    assert "under a night sky, close up" in night.captions()[0]


def test_captions_use_the_vocabulary_only_and_all_of_it() -> None:
    seen = {
        word
        for scene in SCENES
        for caption in scene.captions()
        for word in words_from_caption(caption)
    }

    assert seen <= set(VOCABULARY)
    assert len(set(VOCABULARY) - seen) == 0
    assert 90 <= len(VOCABULARY) <= 150
    assert tuple(sorted(set(VOCABULARY))) == VOCABULARY


@pytest.mark.parametrize("scene", SCENES[::10])
def test_captions_are_distinct_and_short(scene: Scene) -> None:
    captions = scene.captions()

    assert len(set(captions)) == len(captions) >= 5
    assert all(len(words_from_caption(caption)) <= 24 for caption in captions)
    assert len(words_from_caption(captions[0])) == max(
        len(words_from_caption(caption)) for caption in captions
    )


@pytest.mark.parametrize("scene", SCENES[::10])
def test_captions_say_nothing_that_the_scene_does_not(scene: Scene) -> None:
    groups = scene.groups
    nouns = {g.kind.value if g.count == 1 else g.kind.plural for g in groups}
    counts = {("one", "two", "three", "four")[g.count - 1] for g in groups}
    true_of = {
        **{word: word in nouns for kind in Kind for word in (kind.value, kind.plural)},
        **{word: word in counts for word in ("two", "three", "four")},
        **{colour.value: colour in {g.colour for g in groups} for colour in Colour},
        **{size.value: size in {g.size for g in groups} for size in Size},
        **{material.value: material in {g.material for g in groups} for material in Material},
    }

    for caption in scene.captions():
        for word in words_from_caption(caption):
            assert true_of.get(word, True), f"{word!r} in {caption!r}"


def test_the_full_caption_names_every_property() -> None:
    for scene in SCENES[::7]:
        full = scene.captions()[0]
        for group in scene.groups:
            for word in (group.colour, group.size, group.material):
                assert word.value in full.replace(",", "").split()
        assert scene.background.phrase in full
        assert scene.camera.value in full
