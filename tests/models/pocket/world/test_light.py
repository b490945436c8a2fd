from __future__ import annotations

import numpy as np
import pytest

from lineup_models.pocket.world.grammar import Colour
from lineup_models.pocket.world.light import (
    colour_from_word,
    linear_from_hsv,
    linear_from_srgb,
    partner_from_colour,
)


def test_hsv_corners() -> None:
    for hue, expected in ((0, (1, 0, 0)), (60, (1, 1, 0)), (120, (0, 1, 0)), (240, (0, 0, 1))):
        np.testing.assert_allclose(linear_from_hsv(hue, 1, 1).ravel(), expected, atol=1e-6)


def test_middle_grey_of_the_display_is_a_fifth_of_the_light() -> None:
    # IEC 61966-2-1: display 0.5 is linear 0.2140.
    assert float(linear_from_srgb(np.float32([0.5]))[0]) == pytest.approx(0.2140, abs=1e-4)


@pytest.mark.parametrize("colour", list(Colour))
def test_a_pattern_contrasts_with_its_body(colour: Colour) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        body = colour_from_word(rng, colour).ravel()
        partner = partner_from_colour(rng, colour).ravel()
        assert np.abs(body - partner).max() > 0.15


def test_checkers_on_black_differ_from_checkers_on_white() -> None:
    rng = np.random.default_rng(0)
    means = {
        colour: np.mean([colour_from_word(rng, colour) + partner_from_colour(rng, colour)])
        for colour in (Colour.BLACK, Colour.WHITE)
    }

    assert means[Colour.WHITE] > 2 * means[Colour.BLACK]
