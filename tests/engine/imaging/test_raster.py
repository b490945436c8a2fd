from __future__ import annotations

import numpy as np
import pytest

from lineup.imaging.decoders import Raster, rgb_from_raster


@pytest.mark.parametrize("bit_depth", [10, 12, 16])
def test_deep_pixels_are_rounded_and_keep_black_and_white(bit_depth):
    top = 2**bit_depth - 1
    values = np.arange(top + 1, dtype=np.uint16).reshape(2 ** (bit_depth // 2), -1)
    pixels, notes = rgb_from_raster(Raster(np.dstack([values] * 3), bit_depth))
    exact = values * (255 / top)
    assert np.abs(pixels[..., 0] - exact).max() <= 0.5 + 1e-6
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert notes == (f"{bit_depth}-bit reduced to 8",)


def test_compositing_is_exact_for_every_colour_and_alpha():
    colour, alpha = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    pixels, _ = rgb_from_raster(Raster(np.dstack([colour, colour, colour, alpha]), 8))
    exact = (colour.astype(int) * alpha + 255 * (255 - alpha.astype(int))) / 255
    assert np.abs(pixels[..., 1] - exact).max() <= 0.5
