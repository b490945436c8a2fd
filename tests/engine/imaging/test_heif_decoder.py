"""The files are made by data/make_heic.py: red, green, blue and white quarters, 64 x 48."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from lineup.errors import ImageTooLargeError, UnreadableImageError, UnsupportedImageError
from lineup.imaging.decode import image_from_bytes
from lineup.imaging.header import DecodeLimits

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def corners(pixels):
    return [pixels[4, 4], pixels[4, -4], pixels[-4, 4], pixels[-4, -4]]


def assert_close(found, expected):
    assert np.abs(np.array(found, int) - np.array(expected)).max() <= 2


@pytest.mark.parametrize(
    ("name", "notes"),
    [
        ("plain", ()),
        ("two", ("primary of 2 pictures",)),
        ("deep", ("10-bit reduced to 8",)),
        ("exif", ()),  # without a rotation box, the EXIF orientation says nothing
    ],
)
def test_pictures(data_dir, name, notes):
    image = image_from_bytes((data_dir / f"{name}.heic").read_bytes())
    assert image.pixels.shape == (48, 64, 3)
    assert_close(corners(image.pixels), [RED, GREEN, BLUE, WHITE])
    assert (image.format, image.notes) == ("heic", notes)


def test_the_rotation_box_is_applied_once(data_dir):
    image = image_from_bytes((data_dir / "turned.heic").read_bytes())
    assert image.pixels.shape == (64, 48, 3)
    assert_close(corners(image.pixels), [BLUE, RED, WHITE, GREEN])


def test_alpha(data_dir):
    image = image_from_bytes((data_dir / "alpha.heic").read_bytes())
    assert_close(image.pixels[4, 4], (255, 127, 127))
    assert image.notes == ("alpha composited over white",)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_truncated(data_dir, kept):
    data = (data_dir / "plain.heic").read_bytes()
    with pytest.raises(UnreadableImageError, match="damaged HEIC"):
        image_from_bytes(data[: int(len(data) * kept)])


def test_pixel_limit(data_dir):
    with pytest.raises(ImageTooLargeError, match="64 x 48"):
        image_from_bytes(
            (data_dir / "plain.heic").read_bytes(), limits=DecodeLimits(max_pixels=64 * 48 - 1)
        )


def test_a_missing_decoder_is_named(data_dir, monkeypatch):
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(UnsupportedImageError, match="pi-heif"):
        image_from_bytes((data_dir / "plain.heic").read_bytes())
