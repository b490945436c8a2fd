"""Histories of images: sizes, and that they do what they say."""

import cv2
import numpy as np
import pytest

from lineup_models.fingerprint import real_training

SIZE = 32


def photograph(seed, height=80, width=100):
    random = np.random.default_rng(seed)
    return cv2.GaussianBlur(random.integers(0, 256, (height, width, 3), np.uint8), (0, 0), 1)


def test_five_tiles_of_each_photograph_the_same_every_time():
    photographs = [photograph(0), photograph(1)]
    first = list(real_training.photograph_tiles(photographs, SIZE, np.random.default_rng(3)))
    again = list(real_training.photograph_tiles(photographs, SIZE, np.random.default_rng(3)))

    assert [tile.shape for tile in first] == [(SIZE, SIZE, 3)] * 10
    assert all(tile.dtype == np.uint8 for tile in first)
    assert all((one == other).all() for one, other in zip(first, again, strict=True))


def test_reconstructions_come_as_they_are_and_sometimes_changed():
    images = [photograph(seed, SIZE, SIZE) for seed in range(40)]
    tiles = list(real_training.reconstruction_tiles(images, np.random.default_rng(0)))
    same = sum(any(tile is image for image in images) for tile in tiles)

    assert same == 40
    assert 65 < len(tiles) < 80
    assert {tile.shape for tile in tiles} == {(SIZE, SIZE, 3)}


def test_a_small_image_is_continued_before_it_is_cropped():
    assert real_training.crop(photograph(0, 20, 50), SIZE, np.random.default_rng(0)).shape[:2] == (
        SIZE,
        SIZE,
    )


@pytest.mark.parametrize("change", real_training._CHANGES)
def test_every_change_changes(change):
    pixels = photograph(0)
    changed = change(pixels, np.random.default_rng(0))

    assert changed.dtype == np.uint8
    assert changed.shape != pixels.shape or (changed != pixels).any()


def test_compression_changes_values_not_size():
    pixels = photograph(0)
    found = real_training.compressed(pixels, np.random.default_rng(0))

    assert found.shape == pixels.shape
    assert 0 < np.abs(found.astype(int) - pixels).mean() < 20
