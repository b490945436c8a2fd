"""How much of a caption is right, by what its words are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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

ASPECTS: Mapping[str, Sequence[str]] = {
    "kinds": [*(kind.value for kind in Kind), *(kind.plural for kind in Kind)],
    "colours": [word.value for word in Colour],
    "materials": [word.value for word in Material],
    "sizes": [word.value for word in Size],
    "counts": ["a", "an", *COUNTS.values()],
    "relation": [word.value for word in Relation],
    "background": [word.phrase for word in Background],
    "light": [word.value for word in Light],
    "camera": [word.value for word in Camera if word.value],
}
"""Words and phrases of each aspect."""


def named_in(caption: str, aspect: str) -> list[str]:
    """Return the words of an aspect that a caption names, in order; "s" of a plural left out."""
    text = f" {caption.replace(',', ' ')} "
    text = " ".join(text.split()).join("  ")
    phrases = {phrase for phrase in ASPECTS[aspect] if f" {phrase} " in text}
    if aspect == "counts":
        # The article of a place is no count: only words before the place are looked at.
        ends = [text.find(place.phrase) for place in Background if place.phrase in text]
        text = text[: min(ends, default=len(text))] + " "
    places = []
    for phrase in phrases:
        start = text.find(f" {phrase} ")
        while start >= 0:
            places.append((start, phrase))
            start = text.find(f" {phrase} ", start + 1)
    singular = {kind.plural: kind.value for kind in Kind} if aspect == "kinds" else {}
    return [singular.get(phrase, phrase) for _, phrase in sorted(places)]


def shares_right(captions: Sequence[str], truths: Sequence[str]) -> dict[str, float]:
    """Return, per aspect, the share of captions that name just what the true caption names.

    "all" is the share of captions that are right in every word.
    """
    shares = {
        aspect: sum(
            named_in(caption, aspect) == named_in(truth, aspect)
            for caption, truth in zip(captions, truths, strict=True)
        )
        / len(truths)
        for aspect in ASPECTS
    }
    exact = [a == b.replace(",", "") for a, b in zip(captions, truths, strict=True)]
    return {**shares, "all": sum(exact) / len(exact)}
