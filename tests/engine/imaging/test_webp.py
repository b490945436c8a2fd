from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from lineup.errors import ImageTooLargeError, UnreadableImageError
from lineup.imaging.decode import image_from_bytes
from lineup.imaging.header import DecodeLimits, Decoder
from lineup.imaging.webp import header_from_webp

EXIF = Image.Exif()
EXIF[274] = 1


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("lossless", [False, True])
def test_pixels_are_those_of_libwebp(photo, encode, mode, lossless):
    data = encode(photo, "WEBP", mode=mode, lossless=lossless)
    reference = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert (image_from_bytes(data).pixels == reference).all()


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": EXIF}])
def test_size_is_read_from_every_kind_of_chunk(photo, encode, options):
    header = header_from_webp(encode(photo, "WEBP", **options), DecodeLimits())
    assert (header.width_px, header.height_px) == (120, 90)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_truncated(photo, encode, kept):
    data = encode(photo, "WEBP")
    with pytest.raises(UnreadableImageError, match="truncated WebP"):
        image_from_bytes(data[: int(len(data) * kept)])


def test_animations_are_left_to_pillow(photo, encode):
    frames = [Image.fromarray(photo[::-1].copy())]
    data = encode(photo, "WEBP", save_all=True, append_images=frames)
    header = header_from_webp(data, DecodeLimits())
    assert header.decoder is Decoder.PILLOW
    assert header.notes == ("first of 2 frames",)


def test_a_bitstream_larger_than_the_canvas_is_refused(photo, encode):
    data = bytearray(encode(photo, "WEBP", exif=EXIF))
    canvas = data.index(b"VP8X") + 12
    data[canvas : canvas + 6] = bytes(6)
    with pytest.raises(ImageTooLargeError, match="120 x 90"):
        header_from_webp(bytes(data), DecodeLimits(max_pixels=1000))
    with pytest.raises(UnreadableImageError):
        image_from_bytes(bytes(data))


def test_no_size_anywhere():
    data = b"RIFF\x10\x00\x00\x00WEBPJUNK\x04\x00\x00\x00abcd"
    with pytest.raises(UnreadableImageError, match="no chunk states the size"):
        image_from_bytes(data)


def test_what_follows_the_end_is_noted(photo, encode):
    image = image_from_bytes(encode(photo, "WEBP") + b"xyz")
    assert image.notes == ("3 bytes after the end of the image ignored",)


def test_a_chunk_behind_the_picture_that_ends_outside_of_the_file(photo, encode):
    data = encode(photo, "WEBP") + b"JUNK" + struct.pack("<I", 1000) + bytes(8)
    data = data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
    with pytest.raises(UnreadableImageError, match="b'JUNK' ends outside"):
        image_from_bytes(data)


def test_bytes_behind_the_last_chunk_are_noted(photo, encode):
    data = encode(photo, "WEBP", lossless=True) + b"12345"
    image = image_from_bytes(data[:4] + struct.pack("<I", len(data) - 8) + data[8:])
    assert (image.pixels == photo).all()
    assert image.notes == ("5 bytes after the end of the image ignored",)
