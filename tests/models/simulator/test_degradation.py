from __future__ import annotations

import numpy as np
import pytest

from lineup_models.simulator.features import (
    Degradation,
    degradation_from_seed,
    degraded_image,
)

PIXELS = np.random.default_rng(0).integers(0, 255, (64, 80, 3), dtype=np.uint8)


def test_the_default_changes_nothing() -> None:
    assert np.array_equal(degraded_image(PIXELS, Degradation()), PIXELS)


@pytest.mark.parametrize(
    ("degradation", "shape"),
    [
        (Degradation(jpeg_quality=70), (64, 80, 3)),
        (Degradation(webp_quality=80), (64, 80, 3)),
        (Degradation(blur_px=1.0), (64, 80, 3)),
        (Degradation(resize=0.5), (32, 40, 3)),
        (Degradation(resize=1.25), (80, 100, 3)),
        (Degradation(crop=0.75), (48, 60, 3)),
        (Degradation(crop=0.75, resize=0.5, blur_px=0.5, jpeg_quality=90), (24, 30, 3)),
    ],
)
def test_each_changes_pixels_and_size_as_it_says(
    degradation: Degradation, shape: tuple[int, int, int]
) -> None:
    changed = degraded_image(PIXELS, degradation)
    assert changed.shape == shape
    assert changed.dtype == np.uint8
    if shape == PIXELS.shape:
        assert not np.array_equal(changed, PIXELS)


def test_crop_keeps_the_middle() -> None:
    assert np.array_equal(degraded_image(PIXELS, Degradation(crop=0.75)), PIXELS[8:56, 10:70])


def test_compression_keeps_the_colour_order() -> None:
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 200
    for degradation in (Degradation(jpeg_quality=95), Degradation(webp_quality=95)):
        changed = degraded_image(red, degradation).mean(axis=(0, 1))
        assert changed[0] > 150
        assert changed[2] < 50


def test_draws_are_reproducible_and_cover_every_kind() -> None:
    drawn = [degradation_from_seed([1, seed]) for seed in range(400)]
    assert drawn == [degradation_from_seed([1, seed]) for seed in range(400)]
    assert Degradation() not in drawn
    jpeg_only = sum(one == Degradation(jpeg_quality=one.jpeg_quality) for one in drawn)
    assert 0.35 < jpeg_only / len(drawn) < 0.55
    assert any(one.crop < 1 and one.jpeg_quality for one in drawn)
    for attribute in ("webp_quality", "blur_px"):
        assert any(getattr(one, attribute) for one in drawn)
    assert min(one.resize for one in drawn) < 0.7
    assert max(one.resize for one in drawn) > 1.05
