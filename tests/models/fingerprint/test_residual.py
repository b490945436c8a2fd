from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch

from lineup_models.fingerprint.residual import (
    RESIDUAL_FILTERS,
    half_disc,
    window_sums,
)
from lineup_models.fingerprint.spec import ResidualFilter, SpectrumSpec

# OpenCV reads the exponential from a table with linear interpolation; grey levels of 0..255.
OPENCV_TABLE_ERROR = 2e-3


def image(size: int = 48) -> npt.NDArray[np.float32]:
    """Return (size, size, 3) with slopes, an edge, and noise."""
    random = np.random.default_rng(3)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    base = np.stack([x * 2, y * 3, 255 - x - y], axis=2)
    base[size // 3 :, size // 2 :] += 60
    noisy = np.clip(np.rint(base + random.normal(0, 8, base.shape)), 0, 255)
    return noisy.astype(np.float32)


def residual(kind: ResidualFilter, pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    module = RESIDUAL_FILTERS[kind](SpectrumSpec(residual=kind))
    planes = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]
    found: npt.NDArray[np.float32] = module(planes)[0].permute(1, 2, 0).numpy()
    return found


def test_the_disc_has_twelve_neighbours_at_diameter_five() -> None:
    half = half_disc(2)

    assert len(half) == 6
    assert not {(-dy, -dx) for dy, dx in half} & set(half)


def test_bilateral_is_opencvs_up_to_the_border() -> None:
    pixels = image()

    expected = [
        pixels[..., c] - cv2.bilateralFilter(np.ascontiguousarray(pixels[..., c]), 5, 10.0, 2.0)
        for c in range(3)
    ]

    found = residual(ResidualFilter.BILATERAL, pixels)
    np.testing.assert_allclose(found, np.stack(expected, axis=2), atol=OPENCV_TABLE_ERROR)


@pytest.mark.parametrize("window", [3, 5, 7, 9])
def test_window_sums_are_opencvs(window: int) -> None:
    plane = np.ascontiguousarray(image()[..., 0])

    found = window_sums(torch.from_numpy(plane)[None, None], window)[0, 0].numpy()

    r = window // 2
    expected = cv2.boxFilter(plane, -1, (window, window), normalize=False)[r:-r, r:-r]
    np.testing.assert_array_equal(found, expected)


def test_wiener_is_its_definition_where_cancellation_is_worst() -> None:
    pixels = np.full((16, 16, 3), 255.0, np.float32)
    pixels[8, 8] = 254.0

    found = residual(ResidualFilter.WIENER, pixels)

    # One pixel of 25 is lower by 1: mean -1/25 and variance 24/625 from there.
    expected = -(24 / 25) * 100 / (24 / 625 + 100)
    assert found[8, 8] == pytest.approx(expected, rel=1e-6)
    assert found[0, 0] == pytest.approx(0, abs=0)


@pytest.mark.parametrize("kind", list(ResidualFilter))
def test_a_flat_image_leaves_nothing(kind: ResidualFilter) -> None:
    assert np.abs(residual(kind, np.full((16, 16, 3), 201.0, np.float32))).max() < 1e-4


@pytest.mark.parametrize("kind", list(ResidualFilter))
def test_a_strong_edge_leaves_less_than_a_linear_filter_would(kind: ResidualFilter) -> None:
    step = np.zeros((32, 32, 3), np.float32)
    step[:, 16:] = 250.0

    linear = step - cv2.blur(step, (5, 5), borderType=cv2.BORDER_REFLECT_101)

    assert np.abs(residual(kind, step)).max() < 0.1 * np.abs(linear).max()
