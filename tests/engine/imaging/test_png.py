from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from lineup.errors import UnreadableImageError, UnsupportedImageError
from lineup.imaging import png as png_module
from lineup.imaging.decode import image_from_bytes


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_truncated(photo, encode, kept):
    data = encode(photo, "PNG")
    with pytest.raises(UnreadableImageError, match="truncated PNG"):
        image_from_bytes(data[: int(len(data) * kept)])


@pytest.mark.parametrize("missing", [1, 4])
def test_a_cut_in_the_checksum_of_the_end_is_one(photo, encode, missing):
    with pytest.raises(UnreadableImageError, match="truncated PNG"):
        image_from_bytes(encode(photo, "PNG")[:-missing])


def test_a_missing_end_chunk_is_refused(photo, encode):
    with pytest.raises(UnreadableImageError, match="its end chunk is missing"):
        image_from_bytes(encode(photo, "PNG")[:-12])


def test_every_flipped_byte_of_the_pixels_is_found(photo, encode):
    data = encode(photo, "PNG")
    for position in range(60, len(data) - 20, 997):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        with pytest.raises(UnreadableImageError):
            image_from_bytes(bytes(damaged))


def test_what_follows_the_end_is_ignored_and_noted(photo, encode):
    image = image_from_bytes(encode(photo, "PNG") + b"x" * 1234)
    assert (image.pixels == photo).all()
    assert image.notes == ("1,234 bytes after the end of the image ignored",)


def test_16_bits_are_rounded(png):
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    image = image_from_bytes(png(values, 0, depth=16))
    assert (image.pixels[..., 0] == np.round(values / 257)).all()
    assert image.notes == ("16-bit reduced to 8", "grey expanded to RGB")


def test_16_bit_rgb_and_alpha(photo, png):
    wide = photo.astype(np.uint16) * 257
    assert (image_from_bytes(png(wide, 2, depth=16)).pixels == photo).all()
    rgba = np.dstack([wide, np.full(photo.shape[:2], 0x8000, np.uint16)])
    image = image_from_bytes(png(rgba, 6, depth=16))
    assert np.abs(image.pixels - (photo * (128 / 255) + 127)).max() <= 0.5
    assert image.notes == ("16-bit reduced to 8", "alpha composited over white")


@pytest.mark.parametrize("mode", ["P", "1", "L", "LA", "RGB", "RGBA"])
def test_modes(photo, encode, mode):
    data = encode(photo, "PNG", mode=mode)
    reference = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert (image_from_bytes(data).pixels == reference).all()


def test_transparent_palette(photo, encode):
    palette = Image.fromarray(photo).quantize(16)
    alphas = bytes(range(0, 256, 16))
    data = encode(palette, "PNG", transparency=alphas)
    rgba = Image.open(io.BytesIO(data)).convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    reference = np.asarray(Image.alpha_composite(white, rgba).convert("RGB"))
    image = image_from_bytes(data)
    assert np.abs(image.pixels.astype(int) - reference).max() <= 1
    assert image.notes == ("alpha composited over white",)


@pytest.mark.parametrize(
    ("depth", "colour_type", "key"),
    [
        (1, 0, [1]),
        (2, 0, [2]),
        (4, 0, [9]),
        (8, 0, [77]),
        (16, 0, [777]),
        (8, 2, [1, 2, 3]),
        (16, 2, [500, 600, 700]),
    ],
)
def test_transparent_colour(png, chunk, depth, colour_type, key):
    shape = (9, 7, len(key)) if len(key) > 1 else (9, 7)
    dtype = np.uint16 if depth == 16 else np.uint8
    pixels = np.zeros(shape, dtype)
    pixels[4, 3] = key if len(key) > 1 else key[0]
    transparency = chunk(b"tRNS", struct.pack(f">{len(key)}H", *key))
    image = image_from_bytes(png(pixels, colour_type, depth=depth, extra=transparency))
    expected = np.zeros((9, 7, 3), np.uint8)
    expected[4, 3] = 255
    assert (image.pixels == expected).all()
    assert "alpha composited over white" in image.notes


def test_the_still_image_of_an_animation_is_shown(photo, encode):
    frames = [Image.fromarray(photo[::-1].copy()), Image.fromarray(photo[:, ::-1].copy())]
    data = encode(photo, "PNG", save_all=True, append_images=frames, default_image=True)
    image = image_from_bytes(data)
    assert (image.pixels == photo).all()
    assert image.notes == ("still image beside an animation of 2 frames",)


def test_a_bad_colour_profile_is_not_even_mentioned_on_stderr(photo, png, chunk, capfd):
    profile = chunk(b"iCCP", b"broken\0\0not a profile")
    assert (image_from_bytes(png(photo, 2, extra=profile)).pixels == photo).all()
    assert capfd.readouterr().err == ""


def test_a_wrong_checksum_of_metadata_does_not_cost_the_image(photo, png, chunk):
    text = chunk(b"tEXt", b"key\0value")[:-1] + b"!"
    assert (image_from_bytes(png(photo, 2, extra=text)).pixels == photo).all()


def test_the_first_chunk_has_to_be_the_header(photo, png, chunk):
    data = png(photo, 2)
    with pytest.raises(UnreadableImageError, match="first chunk is not IHDR"):
        image_from_bytes(data[:8] + chunk(b"tEXt", b"k\0v") + data[8:])


def test_empty_sides(photo, png):
    with pytest.raises(UnreadableImageError, match="0 x 90 pixels; expected at least 1 x 1"):
        image_from_bytes(png(photo, 2, size=(90, 0)))


def repacked(data, change):
    """Return a PNG with other image data, and the right checksums."""
    start = data.index(b"IDAT")
    size = int.from_bytes(data[start - 4 : start], "big")
    packed = change(data[start + 4 : start + 4 + size])
    chunk = struct.pack(">I", len(packed)) + b"IDAT" + packed
    return (
        data[: start - 4]
        + chunk
        + struct.pack(">I", zlib.crc32(chunk[4:]))
        + data[start + size + 8 :]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda packed: packed[: len(packed) // 2],
            r"truncated PNG: .* after \d\d% of the picture",
        ),
        (lambda packed: packed[:-4], "truncated PNG"),
        (lambda packed: packed[:-4] + b"abcd", "incorrect data check"),
        (lambda packed: packed[:4000] + packed[6000:], "damaged PNG"),
        (lambda packed: zlib.compress(zlib.decompress(packed)[: 45 * 361]), "after 50% of"),
        (lambda packed: zlib.compress(b"\7" + zlib.decompress(packed)[1:]), "filter"),
        (lambda _packed: b"", "after 0% of"),
    ],
)
def test_image_data_that_are_missing_in_spite_of_their_checksums(
    photo, png, change, message, capfd
):
    with pytest.raises(UnreadableImageError, match=message):
        image_from_bytes(repacked(png(photo, 2), change))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "change",
    [
        lambda packed: packed + b"more",
        lambda packed: zlib.compress(zlib.decompress(packed) + b"more"),
    ],
)
def test_image_data_that_are_too_many_are_noted(photo, png, change, capfd):
    image = image_from_bytes(repacked(png(photo, 2), change))
    assert (image.pixels == photo).all()
    assert image.notes == ("image data behind the picture ignored",)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("depth", [1, 8, 16])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (9, 17)])
def test_interlaced(chunk, depth, size):
    # libpng undoes the passes; what is written here is what it says of itself.
    height, width = size
    values = np.random.default_rng(0).integers(0, 2**depth, size)
    rows = b""
    for x, y, right, down in png_module._ADAM7:
        for row in values[y::down, x::right]:
            bits = row.astype(">u2").tobytes() if depth == 16 else row.astype(np.uint8)
            rows += b"\0" * bool(len(row)) + (
                np.packbits(bits).tobytes() if depth == 1 else bytes(bits)
            )
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 1)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    found = image_from_bytes(b"\x89PNG\r\n\x1a\n" + body).pixels[..., 0]
    assert (found == np.round(values * (255 / (2**depth - 1)))).all()


@pytest.mark.parametrize("head", [(8, 5, 0), (3, 2, 0), (8, 2, 2)])
def test_headers_that_do_not_exist(png, photo, chunk, head, capfd):
    depth, colour_type, interlacing = head
    header = struct.pack(">IIBBBBB", 120, 90, depth, colour_type, 0, 0, interlacing)
    data = png(photo, 2)
    with pytest.raises(UnreadableImageError, match="IHDR ends in"):
        image_from_bytes(data[:8] + chunk(b"IHDR", header) + data[33:])
    assert capfd.readouterr() == ("", "")


def test_a_palette_that_is_missing(photo, png, capfd):
    with pytest.raises(UnreadableImageError, match="its palette is missing"):
        image_from_bytes(png(photo[..., 0], 3))
    assert capfd.readouterr() == ("", "")


def test_a_second_header(photo, png):
    data = png(photo, 2)
    with pytest.raises(UnreadableImageError, match="not the only"):
        image_from_bytes(data[:33] + data[8:])


def test_the_packing_of_iphone_applications_is_not_supported(photo, png, chunk):
    data = png(photo, 2)
    with pytest.raises(UnsupportedImageError, match="CgBI"):
        image_from_bytes(data[:8] + chunk(b"CgBI", b"\x50\0\x20\6") + data[8:])


def test_a_bomb_in_the_image_data_is_not_inflated(photo, png):
    bomb = repacked(png(photo, 2), lambda _packed: zlib.compress(bytes(2**26)))
    tracemalloc.start()
    image_from_bytes(bomb)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 2**20


def test_many_empty_chunks_take_no_time(photo, png, chunk):
    data = png(photo, 2)
    started = time.process_time()
    image = image_from_bytes(data[:33] + chunk(b"IDAT", b"") * 100_000 + data[33:])
    assert time.process_time() - started < 2
    assert (image.pixels == photo).all()
