"""Sizes of image files, told before any pixel is decoded."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from lineup.errors import ImageTooLargeError, UnsupportedImageError
from lineup.imaging.decode import encoded_from_bytes
from lineup.imaging.header import DecodeLimits

FORMATS = ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"] + ["AVIF"] * features.check("avif")
HEIC = Path(__file__).parent / "data" / "plain.heic"


@pytest.fixture
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8))


@pytest.mark.parametrize("name", FORMATS)
def test_the_size_is_known_before_the_pixels_are(name, image, monkeypatch):
    stream = io.BytesIO()
    image.save(stream, name)
    with monkeypatch.context() as patch:
        for decoder in ("raster_from_opencv", "raster_from_pillow", "rgb_from_raster"):
            patch.setattr(f"lineup.imaging.decode.{decoder}", None)
        encoded = encoded_from_bytes(stream.getvalue())

    assert (encoded.header.width_px, encoded.header.height_px) == (70, 50)
    assert encoded.decoded().pixels.shape == (50, 70, 3)


def test_the_size_of_heic_is_known_too():
    pytest.importorskip("pi_heif")
    encoded = encoded_from_bytes(HEIC.read_bytes())

    decoded = encoded.decoded()
    assert (encoded.header.width_px, encoded.header.height_px) == (
        decoded.width_px,
        decoded.height_px,
    )


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_too_large_is_refused_by_its_header(name, image):
    stream = io.BytesIO()
    image.save(stream, name)

    with pytest.raises(ImageTooLargeError, match="70 x 50"):
        encoded_from_bytes(stream.getvalue(), limits=DecodeLimits(max_pixels=100))


def test_what_is_no_image_is_refused():
    with pytest.raises(UnsupportedImageError):
        encoded_from_bytes(b"no image")
