from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from lineup.errors import UnreadableImageError
from lineup.imaging.decode import image_from_bytes


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_truncated(photo, encode, kept):
    data = encode(photo, "PNG")
    with pytest.raises(UnreadableImageError, match="truncated PNG"):
        image_from_bytes(data[: int(len(data) * kept)])


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
