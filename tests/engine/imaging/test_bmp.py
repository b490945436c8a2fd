from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from lineup.errors import UnreadableImageError
from lineup.imaging.decode import image_from_bytes

RGBA_MASKS = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)


def bmp(body, bits, *, compression=0, masks=b"", header_bytes=40, palette=b"", size=(120, 90)):
    loose_masks = masks if header_bytes == 40 else b""
    offset = 14 + header_bytes + len(loose_masks) + len(palette)
    header = struct.pack(
        "<IiiHHIIiiII", header_bytes, *size, 1, bits, compression, len(body), 2835, 2835, 0, 0
    )
    if header_bytes > 40:
        header += masks.ljust(header_bytes - 40, b"\0")
    start = struct.pack("<2sIHHI", b"BM", offset + len(body), 0, 0, offset)
    return start + header + loose_masks + palette + body


def reference(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P"])
def test_modes(photo, encode, mode):
    data = encode(photo, "BMP", mode=mode)
    assert (image_from_bytes(data).pixels == reference(data)).all()


def test_rows_from_top_to_bottom(photo):
    data = bmp(photo[..., ::-1].tobytes(), 24, size=(120, -90))
    assert (image_from_bytes(data).pixels == photo).all()


def test_16_bits_reach_white():
    white = np.full((90, 120), 0x7FFF, "<u2")
    assert (image_from_bytes(bmp(white.tobytes(), 16)).pixels == 255).all()


def test_bit_fields_without_alpha_have_no_alpha(photo):
    unused = np.zeros((90, 120, 1), np.uint8)
    body = np.concatenate([photo[::-1, :, ::-1], unused], axis=2).tobytes()
    image = image_from_bytes(bmp(body, 32, compression=3, masks=RGBA_MASKS[:12]))
    assert (image.pixels == photo).all()
    assert image.notes == ()


def test_bit_fields_with_alpha(photo):
    half = np.full((90, 120, 1), 128, np.uint8)
    body = np.concatenate([photo[::-1, :, ::-1], half], axis=2).tobytes()
    image = image_from_bytes(bmp(body, 32, compression=3, masks=RGBA_MASKS, header_bytes=108))
    assert np.abs(image.pixels - (photo * (128 / 255) + 127)).max() <= 0.5
    assert image.notes == ("alpha composited over white",)


def test_run_lengths():
    rows = b"".join(bytes([120, row]) + b"\0\0" for row in range(90)) + b"\0\1"
    palette = b"".join(bytes([i, 255 - i, 7, 0]) for i in range(256))
    data = bmp(rows, 8, compression=1, palette=palette)
    assert (image_from_bytes(data).pixels == reference(data)).all()


def test_run_lengths_that_end_early_are_refused():
    rows = b"".join(bytes([120, row]) + b"\0\0" for row in range(45)) + b"\0\1"
    with pytest.raises(UnreadableImageError, match="damaged BMP"):
        image_from_bytes(bmp(rows, 8, compression=1, palette=bytes(1024)))


@pytest.mark.parametrize("kept", [0.0005, 0.3, 0.6, 0.95])
def test_truncated(photo, encode, kept):
    data = encode(photo, "BMP")
    with pytest.raises(UnreadableImageError, match="truncated BMP"):
        image_from_bytes(data[: int(len(data) * kept)])
