from __future__ import annotations

import pytest

from lineup_models.pocket.captioner_training import named_in, shares_right
from lineup_models.pocket.world.scene import scene_from_seed

TRUTH = "two small red dotted cups left of a large blue shiny car on a meadow at noon, close up"


@pytest.mark.parametrize(
    ("aspect", "expected"),
    [
        ("kinds", ["cup", "car"]),
        ("colours", ["red", "blue"]),
        ("counts", ["two", "a"]),
        ("relation", ["left of"]),
        ("background", ["on a meadow"]),
        ("light", ["at noon"]),
        ("camera", ["close up"]),
    ],
)
def test_what_a_caption_names_is_found_in_order(aspect: str, expected: list[str]) -> None:
    assert named_in(TRUTH, aspect) == expected


def test_shares_count_captions_that_are_right_in_an_aspect() -> None:
    wrong = TRUTH.replace("blue", "green").replace(",", "")
    shares = shares_right([TRUTH.replace(",", ""), wrong], [TRUTH, TRUTH])
    assert shares["colours"] == 0.5
    assert shares["kinds"] == shares["background"] == 1.0
    assert shares["all"] == 0.5


def test_every_full_caption_names_kind_colour_and_place() -> None:
    for seed in range(100):
        caption = scene_from_seed(seed).captions()[0]
        kinds = named_in(caption, "kinds")
        assert len(kinds) == len(named_in(caption, "colours")) == len(named_in(caption, "counts"))
        assert len(named_in(caption, "background")) == 1
        assert len(named_in(caption, "relation")) == len(kinds) - 1
