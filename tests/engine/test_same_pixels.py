"""The same pixels are the same answer, to the last digit, however they are stored."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

import lineup
from lineup.imaging.decoders import upright_from_stored
from lineup_models.samples import SOURCES, draw_image

# Which orientation undoes one.
INVERSE = {**{value: value for value in range(1, 9)}, 6: 8, 8: 6}


@pytest.fixture(scope="module")
def engine():
    with lineup.open(device="cpu") as opened:
        yield opened


@pytest.fixture(scope="module")
def picture():
    return draw_image(SOURCES[0], 0)[:300, :280]


@pytest.fixture(scope="module")
def answer(engine, picture):
    return engine.attribute(picture).verdict


def exif_from(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    return exif


def saved(stored, image_format, orientation, **options):
    stream = io.BytesIO()
    image = Image.fromarray(stored)
    image.save(stream, image_format, exif=exif_from(orientation), **options)
    return stream.getvalue()


def png_of_16_bits(stored, orientation):
    data = cv2.imencode(".png", stored[..., ::-1].astype(np.uint16) * 257)[1].tobytes()
    chunk = b"eXIf" + exif_from(orientation).tobytes().removeprefix(b"Exif\0\0")
    framed = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return data[:33] + framed + data[33:]


STORED = {
    "PNG": lambda stored, orientation: saved(stored, "PNG", orientation),
    "PNG of 16 bits": png_of_16_bits,
    "WebP": lambda stored, orientation: saved(stored, "WEBP", orientation, lossless=True),
    "TIFF": lambda stored, orientation: saved(stored, "TIFF", orientation),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", STORED)
def test_every_format_and_orientation(engine, picture, answer, form, orientation):
    stored = np.ascontiguousarray(upright_from_stored(picture, INVERSE[orientation]))

    found = engine.attribute(STORED[form](stored, orientation))

    assert (found.width_px, found.height_px) == (280, 300)
    assert_same(found.verdict, answer)


def test_bmp(engine, picture, answer):
    data = cv2.imencode(".bmp", picture[..., ::-1])[1].tobytes()

    assert_same(engine.attribute(data).verdict, answer)


def assert_same(verdict, answer):
    assert verdict.posterior == answer.posterior
    assert (verdict.label, verdict.confidence) == (answer.label, answer.confidence)
    for one, other in zip(verdict.evidence, answer.evidence, strict=True):
        assert (one.scores, one.llr) == (other.scores, other.llr)
