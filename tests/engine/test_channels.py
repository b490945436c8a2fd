"""Channels: the bank, and those that are drawn."""

from __future__ import annotations

import numpy as np
import pytest

from lineup.channels import (
    BANK,
    CLEAN,
    DRAWN,
    KINDS,
    UNTOUCHED,
    DrawnChannel,
    channel_from_name,
    through_channel,
)


def test_the_bank_holds_what_its_names_say():
    pixels = np.random.default_rng(0).integers(0, 256, (120, 90, 3), np.uint8)

    sizes = {channel: through_channel(pixels, channel).shape[:2] for channel in BANK}

    assert sizes == {
        CLEAN: (120, 90),
        "jpeg:70": (120, 90),
        "resize:0.5": (60, 45),
        "resize:0.75": (90, 68),
        "resize:1.5": (180, 135),
    }
    assert through_channel(pixels, CLEAN) is pixels
    drawn = [through_channel(pixels, DRAWN, name).tobytes() for name in "abcdefgha"]
    assert drawn[0] == drawn[-1]
    assert len(set(drawn)) > 2


def test_channels_are_drawn_by_name_and_seed_alone():
    assert channel_from_name("x/1.png", 0) == channel_from_name("x/1.png", 0)
    drawn = [channel_from_name(f"x/{number}.png", 0) for number in range(2000)]
    assert drawn != [channel_from_name(f"x/{number}.png", 1) for number in range(2000)]
    shares = {kind: sum(one.kind == kind for one in drawn) / 2000 for kind in (UNTOUCHED, *KINDS)}
    assert shares[UNTOUCHED] == pytest.approx(0.2, abs=0.03)
    for kind in KINDS:
        assert shares[kind] == pytest.approx(0.8 / 7, abs=0.03)


@pytest.mark.parametrize("kind", [UNTOUCHED, *KINDS])
def test_every_channel_gives_an_image_and_leaves_the_original_alone(kind):
    pixels = np.random.default_rng(0).integers(0, 256, (120, 90, 3), np.uint8)
    before = pixels.copy()
    for seed in range(8):
        came = DrawnChannel(kind, seed)(pixels)
        assert came.dtype == np.uint8
        assert came.ndim == 3
        assert min(came.shape[:2]) >= 8
        assert np.array_equal(pixels, before)
        assert (kind == UNTOUCHED) == np.array_equal(came, pixels)
    assert DrawnChannel(kind, 3)(pixels).tobytes() == DrawnChannel(kind, 3)(pixels).tobytes()


def test_social_networks_shrink_only_what_is_too_large():
    large = np.zeros((600, 4096, 3), np.uint8)
    assert {max(DrawnChannel("social", seed)(large).shape) for seed in range(20)} == {1080, 2048}
    small = np.zeros((300, 400, 3), np.uint8)
    assert DrawnChannel("social", 0)(small).shape == small.shape
