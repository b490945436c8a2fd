from __future__ import annotations

import argparse

import pytest


@pytest.mark.parametrize(("text", "point"), [("16x3", (16, 3)), ("1x1", (1, 1))])
def test_a_point_is_images_and_candidates(text, point):
    from attribution import point_from_text

    assert point_from_text(text) == point


@pytest.mark.parametrize("text", ["16", "x3", "0x3", "ax3", "3x"])
def test_a_point_that_is_none_is_refused(text):
    from attribution import point_from_text

    with pytest.raises(argparse.ArgumentTypeError, match="is not like 16x3"):
        point_from_text(text)


def test_candidates_have_weights_of_their_own_when_asked_for():
    from attribution import generators_of

    shared, distinct = (list(generators_of(3, distinct=one).values()) for one in (False, True))

    assert shared == ["sd-turbo"] * 3
    assert distinct == ["sd-turbo", "sd-turbo-b", "sd-turbo-c"]


def test_both_programs_are_compared_by_captions_and_similarities():
    from attribution import agreement

    ours = [
        {"caption": "a", "evidence": {"resynthesis": {"scores": {"x": 0.5, "y": 0.25}}}},
        {"caption": "b", "evidence": {}},
    ]
    theirs = [
        {"caption": "a", "scores": {"x": 0.5, "y": 0.5}},
        {"caption": "c", "scores": {"x": 0.5, "y": 0.5}},
    ]

    assert agreement(ours, theirs) == {"same_captions_percent": 50, "max_similarity_gap": 0.25}
    assert agreement(ours, []) == {}
