"""English captions of a scene, and every word that they can contain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lineup_models.pocket.world.grammar import (
    COUNTS,
    Background,
    Camera,
    Colour,
    Kind,
    Light,
    Material,
    Relation,
    Size,
)

if TYPE_CHECKING:
    from lineup_models.pocket.world.scene import Group, Scene

TEMPLATE_WORDS = ("a", "an", "and", "beside", "with")


def captions_from_scene(scene: Scene) -> tuple[str, ...]:
    """Return true captions of a scene.

    The first tells everything and has at most 24 words; the others leave things out or tell the
    relation from the other side. Words are lower case, parted by single spaces; a comma may
    follow a word.
    """
    pair = _pair_captions(scene) if scene.other is not None else _single_captions(scene)
    return tuple(dict.fromkeys(pair))


def words_from_caption(caption: str) -> tuple[str, ...]:
    """Return the words of a caption, without commas."""
    return tuple(caption.replace(",", " ").split())


def _pair_captions(scene: Scene) -> list[str]:
    first, second, relation = scene.subject, scene.other, scene.relation
    assert second is not None
    assert relation is not None
    place, setting = scene.background.phrase, _setting(scene)
    word = relation.value
    beside = "beside" if relation in (Relation.LEFT, Relation.RIGHT) else word
    return [
        _with_camera(f"{_full(first)} {word} {_full(second)} {setting}", scene.camera),
        f"{_full(second)} {relation.inverse.value} {_full(first)} {place}",
        _with_camera(f"{_coloured(first)} {word} {_coloured(second)} {setting}", scene.camera),
        f"{_coloured(first)} {word} {_coloured(second)} {place}",
        f"{_coloured(second)} {relation.inverse.value} {_coloured(first)}",
        f"{_kinds(first)} {beside} {_kinds(second)} {setting}",
        f"{_kinds(first)} and {_kinds(second)} {place}",
        f"{scene.background.value} with {_kinds(second)} and {_coloured(first)}",
    ]


def _single_captions(scene: Scene) -> list[str]:
    group, place, setting = scene.subject, scene.background.phrase, _setting(scene)
    return [
        _with_camera(f"{_full(group)} {setting}", scene.camera),
        f"{_full(group)} {place}",
        _with_camera(f"{_coloured(group)} {setting}", scene.camera),
        f"{_coloured(group)} {place}",
        f"{_kinds(group)} {setting}",
        f"{_kinds(group)} {place}",
        f"{scene.background.value} with {_coloured(group)}",
        _full(group),
    ]


def _setting(scene: Scene) -> str:
    """Return place and light; a night sky says by itself that it is night."""
    if scene.background is Background.NIGHT_SKY:
        return scene.background.phrase
    return f"{scene.background.phrase} {scene.light.value}"


def _with_camera(text: str, camera: Camera) -> str:
    return f"{text}, {camera.value}" if camera.value else text


def _full(group: Group) -> str:
    return _counted(group, f"{group.size.value} {group.colour.value} {group.material.value} ")


def _coloured(group: Group) -> str:
    return _counted(group, f"{group.colour.value} ")


def _kinds(group: Group) -> str:
    return _counted(group, "")


def _counted(group: Group, adjectives: str) -> str:
    noun = group.kind.value if group.count == 1 else group.kind.plural
    words = f"{adjectives}{noun}"
    if group.count > 1:
        return f"{COUNTS[group.count]} {words}"
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _vocabulary() -> tuple[str, ...]:
    phrases = [*TEMPLATE_WORDS, *(COUNTS[count] for count in COUNTS if count > 1)]
    phrases += [kind.value for kind in Kind] + [kind.plural for kind in Kind]
    phrases += [background.phrase for background in Background]
    for words in (Colour, Size, Material, Relation, Light, Camera):
        phrases += [word.value for word in words]
    return tuple(sorted({word for phrase in phrases for word in phrase.split()}))


VOCABULARY = _vocabulary()
"""Every word that a caption can contain, sorted; commas are no words."""
