from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from lineup.errors import UnreadableImageError, UnsupportedImageError
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


def core_bmp(body, bits, palette=b""):
    """Return a file of OS/2 1.x or Windows 2: sizes of 16 bits, palettes of three bytes."""
    offset = 26 + len(palette)
    start = struct.pack("<2sIHHI", b"BM", offset + len(body), 0, 0, offset)
    return start + struct.pack("<IHHHH", 12, 120, 90, 1, bits) + palette + body


def test_a_core_header_with_colours(photo):
    image = image_from_bytes(core_bmp(photo[::-1, :, ::-1].tobytes(), 24))
    assert (image.pixels == photo).all()
    assert image.notes == ()


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("entry_bytes", [3, 4])
def test_palettes(photo, bits, entry_bytes):
    values = photo[:, :, 0] >> (8 - bits)
    colours = np.random.default_rng(0).integers(0, 256, (2**bits, 3), np.uint8)
    rows = np.packbits(
        np.unpackbits(values[..., None], axis=2)[..., -bits:].reshape(90, -1), axis=1
    )
    body = np.pad(rows[::-1], ((0, 0), (0, -rows.shape[1] % 4))).tobytes()
    unused = np.zeros((2**bits, entry_bytes - 3), np.uint8)
    palette = np.hstack([colours[:, ::-1], unused]).tobytes()
    made = core_bmp if entry_bytes == 3 else bmp
    data = made(body, bits, palette=palette)
    assert (image_from_bytes(data).pixels == colours[values]).all()


def test_a_palette_of_few_entries(photo):
    values = photo[..., 0] % 10
    colours = np.random.default_rng(0).integers(0, 256, (10, 4), np.uint8)
    data = bytearray(bmp(values[::-1].tobytes(), 8, palette=colours.tobytes()))
    struct.pack_into("<I", data, 46, 10)
    assert (image_from_bytes(bytes(data)).pixels == colours[values][..., 2::-1]).all()


@pytest.mark.parametrize("header_bytes", [40, 52, 56, 64, 108, 124])
def test_headers_of_every_size(photo, header_bytes):
    data = bmp(photo[::-1, :, ::-1].tobytes(), 24, header_bytes=header_bytes)
    assert (image_from_bytes(data).pixels == photo).all()


@pytest.mark.parametrize("masks", [(0x7C00, 0x3E0, 0x1F), (0xF800, 0x7E0, 0x1F)])
def test_bit_fields_of_16_bits_reach_white(photo, masks):
    wide = [mask & -mask for mask in masks]
    tops = [mask // low for mask, low in zip(masks, wide, strict=True)]
    levels = np.round(photo * (np.array(tops) / 255)).astype(int)
    packed = (levels * wide).sum(axis=2).astype("<u2")
    data = bmp(packed[::-1].tobytes(), 16, compression=3, masks=struct.pack("<III", *masks))
    assert np.abs(image_from_bytes(data).pixels - levels * 255 / tops).max() <= 1


def test_bit_fields_in_another_order(photo):
    body = np.concatenate([np.full((90, 120, 1), 77, np.uint8), photo[::-1, :, ::-1]], axis=2)
    masks = struct.pack("<III", 0xFF000000, 0xFF0000, 0xFF00)
    image = image_from_bytes(bmp(body.tobytes(), 32, compression=3, masks=masks))
    assert (image.pixels == photo).all()
    assert image.notes == ()


@pytest.mark.parametrize(
    ("bits", "options"),
    [
        (1, {"compression": 3, "header_bytes": 64}),  # fax code of OS/2
        (24, {"compression": 4}),  # runs of OS/2, JPEG of Windows
        (32, {"compression": 6, "masks": RGBA_MASKS}),
        (2, {}),
        (64, {}),
        (24, {"header_bytes": 41}),
    ],
)
def test_what_has_no_decoder_is_not_supported(photo, bits, options):
    with pytest.raises(UnsupportedImageError, match="has no decoder"):
        image_from_bytes(bmp(bytes(120 * 90 * 8), bits, **options))


def test_pixels_inside_the_header(photo, encode):
    data = bytearray(encode(photo, "BMP"))
    data[10] = 20
    with pytest.raises(UnreadableImageError, match="begin inside its header"):
        image_from_bytes(bytes(data))
