"""Images marked by the package that the generators use; `data/make_marked.py` made them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lineup.claims import ClaimKind
from lineup.errors import LineupError
from lineup.imaging.operations import operation_from_text
from lineup.origin import watermarks
from lineup.origin.watermarks import claim_from_pixels, known_marks, watermark_from_pixels
from lineup.reading import read_image

DATA = Path(__file__).parent / "data"
BITS = {
    "stable-diffusion-1-bytes": ("Stable Diffusion 1", 136),
    "stable-diffusion-1-inpainting-bytes": ("Stable Diffusion 1 inpainting", 224),
    "stable-diffusion-2-bytes": ("Stable Diffusion 2", 32),
    "stable-diffusion-xl-floats": ("Stable Diffusion XL", 48),
    "stable-diffusion-xl-floats-red-as-blue": ("Stable Diffusion XL", 48),
    "flux.1-floats": ("FLUX.1", 46),
    "invokeai-bytes": ("InvokeAI", 64),
}
each_mark = pytest.mark.parametrize("file", BITS)


def _pixels(file: str):
    return read_image(DATA / f"{file}.webp").pixels


def _jpeg(pixels, **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", **options)
    return read_image(stream.getvalue()).pixels


@each_mark
def test_a_mark_of_the_package_is_read(file):
    found = watermark_from_pixels(_pixels(file))

    assert found is not None
    assert (found.name, found.bits) == BITS[file]
    assert found.agreeing_bits >= 0.93 * found.bits
    assert found.accident_probability < 1e-7


@each_mark
def test_a_mark_lives_through_jpeg_with_full_chroma(file):
    found = watermark_from_pixels(_jpeg(_pixels(file), quality=90, subsampling=0))

    assert found is not None
    assert found.name == BITS[file][0]


@each_mark
def test_a_mark_is_the_same_where_the_bottom_is_cut_off(file):
    found = watermark_from_pixels(np.ascontiguousarray(_pixels(file)[:-11]))

    assert found is not None
    assert found.name == BITS[file][0]


@each_mark
@pytest.mark.parametrize("operation", ["jpeg:90", "jpeg:75", "resize:0.99", "resize:2", "blur:3"])
def test_a_mark_that_is_gone_is_not_claimed(file, operation):
    assert watermark_from_pixels(operation_from_text(operation)(_pixels(file))) is None


@each_mark
@pytest.mark.parametrize("corner", [(3, 0), (0, 3), (4, 4), (8, 8)])
def test_a_mark_off_its_grid_is_not_claimed(file, corner):
    pixels = _pixels(file)[corner[0] :, corner[1] :]

    assert watermark_from_pixels(np.ascontiguousarray(pixels)) is None


def test_an_image_without_a_mark_has_none():
    assert watermark_from_pixels(_pixels("none")) is None


@pytest.mark.parametrize("value", [0, 9, 128, 255])
def test_a_flat_image_has_none(value):
    assert watermark_from_pixels(np.full((300, 300, 3), value, np.uint8)) is None


@pytest.mark.parametrize("period", [2, 8, 16, 64, 256])
@pytest.mark.parametrize("axis", [0, 1])
def test_stripes_have_none(period, axis):
    lines = np.where(np.arange(512) % period < period // 2, 30, 220).astype(np.uint8)
    pixels = np.zeros((512, 512, 3), np.uint8)
    pixels[..., 2] = lines if axis else lines[:, None]

    assert watermark_from_pixels(pixels) is None


@pytest.mark.parametrize("shape", [(1, 1), (7, 70_000), (70_000, 3), (256, 255), (255, 256)])
def test_an_image_that_the_package_would_not_mark_has_none(shape):
    assert watermark_from_pixels(np.zeros((*shape, 3), np.uint8)) is None


@pytest.mark.parametrize("shape", [(8, 9_000), (9_000, 8), (64, 2_000), (2_000, 72)])
def test_an_image_of_any_shape_is_read(shape):
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)

    assert watermark_from_pixels(noise) is None


def test_noise_is_not_claimed_more_often_than_coins_would_be():
    rng = np.random.default_rng(0)
    accidents = [
        watermarks._likeliest(
            rng.integers(0, 256, (264, 256, 3), dtype=np.uint8), 10_000
        ).accident_probability
        for _ in range(200)
    ]

    # A tenth of the images, of 200, within three standard deviations.
    assert sum(one <= 0.1 for one in accidents) <= 20 + 13


def test_the_probability_of_an_accident_is_the_binomial_tail():
    assert watermarks._accident(32, 32) == 2.0**-32
    assert watermarks._accident(31, 32) == 33 * 2.0**-32
    assert watermarks._accident(0, 48) == 1.0


def test_a_mark_is_a_claim():
    claim = claim_from_pixels(_pixels("stable-diffusion-xl-floats"))

    assert claim is not None
    assert (claim.reader, claim.kind) == ("watermark", ClaimKind.GENERATED)
    assert claim.text == (
        "made with Stable Diffusion XL, 48 of 48 known watermark bits agree, by accident 2e-14"
    )
    assert claim_from_pixels(_pixels("none")) is None


def test_payloads_are_those_of_the_writers():
    payloads = {
        (mark.name, mark.carrier.value): "".join(str(int(bit)) for bit in mark.payload)
        for mark in known_marks()
    }
    xl = f"{0xB3EC907BB19E:b}"

    assert payloads["Stable Diffusion XL", "floats"] == xl
    assert payloads["Stable Diffusion XL", "floats, red as blue"] == xl
    # As flux's own bin(WATERMARK_MESSAGE)[2:], which drops zeros at the start.
    assert payloads["FLUX.1", "floats"] == f"{0b001010101111111010000111100111001111010100101110:b}"
    assert payloads["Stable Diffusion 2", "bytes"] == "01010011010001000101011000110010"
    assert len(payloads) == len(BITS)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "expected either text or bits"),
        ({"text": "SDV2", "bits": "01"}, "expected either text or bits"),
        ({"bits": "012"}, "expected ASCII text, or bits of 0 and 1"),
        ({"text": "é"}, "expected ASCII text, or bits of 0 and 1"),
        ({"text": "SDV2", "carrier": "tape"}, "expected one of bytes, floats"),
    ],
)
def test_a_table_with_a_wrong_payload_is_refused(fields, problem):
    raw = {"schema_version": 1, "marks": [{"name": "X", "carrier": "bytes", **fields}]}

    with pytest.raises(LineupError, match=problem):
        watermarks._FORMAT.from_raw(raw, where="marks.toml")


def test_what_pixels_claim_stands_beside_the_verdict():
    (claim,) = read_image(DATA / "flux.1-floats.webp", origin=True).origin.claims
    assert (claim.reader, claim.generator) == ("watermark", "FLUX.1")
    assert read_image(DATA / "none.webp", origin=True).origin.claims == ()
