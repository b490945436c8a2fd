import io

import numpy as np
import pytest
from PIL import Image, features

from lineup.imaging.decode import DecodeLimits
from lineup.scan.size import BYTES_PER_PIXEL, decoded_bytes

FORMATS = ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"] + ["AVIF"] * features.check("avif")


@pytest.fixture
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8))


@pytest.mark.parametrize("name", FORMATS)
def test_the_size_is_known_without_decoding(name, image, monkeypatch):
    stream = io.BytesIO()
    image.save(stream, name)
    for decoder in ("raster_from_opencv", "rgb_from_raster"):
        monkeypatch.setattr(f"lineup.imaging.decode.{decoder}", None)

    assert decoded_bytes(stream.getvalue(), DecodeLimits()) == 50 * 70 * BYTES_PER_PIXEL


def test_what_will_not_be_decoded_takes_nothing(image):
    stream = io.BytesIO()
    image.save(stream, "PNG")

    assert decoded_bytes(stream.getvalue(), DecodeLimits(max_pixels=100)) == 0
    assert decoded_bytes(b"no image", DecodeLimits()) == 0
