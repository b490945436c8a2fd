from __future__ import annotations

import gzip
import io
import json

import numpy as np
import pytest
from PIL import Image

from lineup.imaging.decode import image_from_bytes
from lineup.imaging.hidden import MAX_HIDDEN_BYTES, hidden_from_pixels
from lineup.origin.parameters import DAMAGED_STEALTH, text_from_hidden
from lineup.reading import read_image

TEXT = json.dumps({"Software": "NovelAI", "Source": "NovelAI Diffusion V4 37442FCA", "Title": "猫"})


def _stream(signature: str, text: bytes, *, claimed_bits: int | None = None) -> bytes:
    count = 8 * len(text) if claimed_bits is None else claimed_bits
    return signature.encode() + count.to_bytes(4, "big") + text


def _hide(stream: bytes, channels: slice, shape: tuple[int, int] = (64, 48)):
    """Write bits as both reference writers do: column by column, alpha 254 or 255."""
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    bits = np.unpackbits(np.frombuffer(stream, np.uint8))
    columns = np.ascontiguousarray(pixels[..., channels].swapaxes(0, 1))
    flat = columns.reshape(-1)
    flat[: len(bits)] = flat[: len(bits)] & 0xFE | bits
    pixels[..., channels] = columns.swapaxes(0, 1)
    return pixels if channels == ALPHA else pixels[..., :3]


ALPHA, COLOURS = slice(3, 4), slice(0, 3)


def _file(pixels, image_format: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, image_format, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("signature", "channels"),
    [
        ("stealth_pnginfo", ALPHA),
        ("stealth_pngcomp", ALPHA),
        ("stealth_rgbinfo", COLOURS),
        ("stealth_rgbcomp", COLOURS),
    ],
)
@pytest.mark.parametrize(
    ("image_format", "options"), [("PNG", {}), ("WEBP", {"lossless": True, "exact": True})]
)
def test_a_hidden_text_is_read_from_a_file(signature, channels, image_format, options):
    text = TEXT.encode()
    stream = _stream(signature, gzip.compress(text) if signature.endswith("comp") else text)
    file = _file(_hide(stream, channels), image_format, **options)

    hidden = image_from_bytes(file).hidden

    assert hidden is not None
    assert text_from_hidden(hidden) == TEXT


def test_an_exif_orientation_does_not_move_the_bits():
    exif = Image.Exif()
    exif[0x0112] = 6
    file = _file(_hide(_stream("stealth_pnginfo", TEXT.encode()), ALPHA), exif=exif.tobytes())

    assert text_from_hidden(image_from_bytes(file).hidden or b"") == TEXT


@pytest.mark.parametrize("shape", [(1, 4), (5, 1), (40, 40), (256, 256)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_an_image_that_hides_nothing_has_nothing(shape, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, channels), dtype=np.uint8)

    assert hidden_from_pixels(pixels[..., 0] if channels == 1 else pixels) is None


def test_deep_and_lossy_pixels_hide_nothing():
    pixels = _hide(_stream("stealth_pnginfo", TEXT.encode()), ALPHA)

    assert hidden_from_pixels(pixels.astype(np.uint16)) is None
    assert image_from_bytes(_file(pixels[..., :3], "JPEG")).hidden is None


@pytest.mark.parametrize(
    "claimed_bits",
    [8 * 3_000, 2**32 - 1, 8 * (MAX_HIDDEN_BYTES + 1)],
    ids=["more than the image", "most", "limit"],
)
def test_a_text_longer_than_there_is_leaves_the_signature(claimed_bits):
    pixels = _hide(_stream("stealth_pnginfo", b"x", claimed_bits=claimed_bits), ALPHA)

    assert hidden_from_pixels(pixels) == b"stealth_pnginfo"
    assert text_from_hidden(b"stealth_pnginfo") is None


def test_a_text_over_the_limit_leaves_the_signature_though_it_is_there():
    stream = _stream("stealth_rgbinfo", b"x" * (MAX_HIDDEN_BYTES + 1))

    hidden = hidden_from_pixels(_hide(stream, COLOURS, (2048, 2048)))

    assert hidden == b"stealth_rgbinfo"


def test_a_text_that_unpacks_to_more_than_the_limit_is_none():
    bomb = gzip.compress(b"x" * (MAX_HIDDEN_BYTES + 1))
    largest = gzip.compress(b"x" * MAX_HIDDEN_BYTES)

    assert text_from_hidden(b"stealth_pngcomp" + bomb) is None
    assert len(text_from_hidden(b"stealth_pngcomp" + largest) or "") == MAX_HIDDEN_BYTES


@pytest.mark.parametrize("harm", [lambda d: d[:-6], lambda d: d[:20] + b"\0\0" + d[22:], len])
def test_a_damaged_text_is_none(harm):
    packed = gzip.compress(TEXT.encode())
    broken = b"no gzip" if harm is len else harm(packed)

    assert text_from_hidden(b"stealth_pngcomp" + broken) is None


def test_bytes_that_are_no_utf_8_are_replaced():
    assert text_from_hidden(b"stealth_pnginfo\xff\xfea") == "\ufffd\ufffda"


def test_hidden_text_claims_what_the_same_text_in_the_open_does():
    text = json.dumps({**json.loads(TEXT), "Comment": json.dumps({"prompt": "cat", "steps": 28})})
    data = _file(_hide(_stream("stealth_pnginfo", text.encode()), ALPHA))
    origin = read_image(data, origin=True).origin
    assert [(one.reader, one.generator) for one in origin.claims] == [("stealth", "NovelAI")]


def test_hidden_text_that_cannot_be_read_is_a_remark():
    data = _file(_hide(_stream("stealth_pngcomp", b"no gzip"), ALPHA))
    origin = read_image(data, origin=True).origin
    assert (origin.claims, origin.notes) == ((), (DAMAGED_STEALTH,))
