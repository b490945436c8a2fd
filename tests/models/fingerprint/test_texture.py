"""Texture, on tiles whose patterns are known."""

from __future__ import annotations

import numpy as np
import torch

from lineup_models.fingerprint.spec import TEXTURE_DIMENSION
from lineup_models.fingerprint.texture import Texture

SIZE = 32
COLOURS, RUNS = 63, 39


def texture(pixels: np.ndarray) -> np.ndarray:
    planes = torch.from_numpy(np.asarray(pixels, np.float32)).permute(2, 0, 1)[None]
    return Texture()(planes)[0].numpy()


def test_shares_of_every_kind_add_up_to_one() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3))
    found = texture(noise) ** 2

    assert found.shape == (TEXTURE_DIMENSION,)
    colours, runs = found[: 4 * COLOURS].reshape(4, -1), found[4 * COLOURS :].reshape(4, -1)
    assert runs.shape == (4, RUNS)
    np.testing.assert_allclose([*colours.sum(1), *runs.sum(1)], 1, rtol=1e-5)


def test_a_plain_tile_has_one_pattern() -> None:
    found = texture(np.full((SIZE, SIZE, 3), 7))

    assert sorted(found.tolist())[-8:] == [1.0] * 8
    assert found.sum() == 8


def test_a_ramp_across_is_one_run_across_and_none_down() -> None:
    found = texture(np.broadcast_to(3 * np.arange(SIZE)[None, :, None], (SIZE, SIZE, 3)))

    # Steps of 9 in the sum of the channels are one unit of 7, those of 18 one of 13.
    runs = found[4 * COLOURS :].reshape(4, RUNS)
    np.testing.assert_array_equal(runs[[0, 2]].argmax(1), [runs[0].argmax()] * 2)
    assert runs[0].argmax() > 0
    assert (runs[[1, 3], 0] == 1).all()
    assert (found[: 4 * COLOURS : COLOURS] == 1).all(), "no second difference anywhere"


def test_a_negative_and_a_tile_gone_through_backwards_have_the_same_texture() -> None:
    # On whole rows: which rows are looked at does not change when they are mirrored.
    tile = np.random.default_rng(1).integers(100, 108, (SIZE, SIZE, 3))

    np.testing.assert_array_equal(texture(255 - tile), texture(tile))
    np.testing.assert_array_equal(texture(tile[:, ::-1]), texture(tile))
    assert (texture(tile[..., ::-1]) != texture(tile)).any(), "colours in another order"


def test_colours_that_move_together_are_told_from_those_that_do_not() -> None:
    own = np.random.default_rng(2).integers(100, 104, (SIZE, SIZE, 3))
    shared = np.repeat(own[..., :1], 3, axis=2)

    together, apart = texture(shared)[:COLOURS], texture(own)[:COLOURS]
    assert (together > 0).sum() == 3, "0, 1 and 2 units, alike in every colour"
    assert (apart > 0).sum() > 40
