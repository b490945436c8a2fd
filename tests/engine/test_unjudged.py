"""Blank images and noise have no fingerprint: nobody's name is given to them."""

import cv2
import numpy as np
import pytest

import lineup
from lineup.channels import through_channel
from lineup.fingerprint import NO_TEXTURE, NOISE, is_unjudged, unjudged_reason
from lineup.fusion import prior_from_candidates
from lineup.results import UNDETERMINED
from lineup_models.samples import SOURCES, draw_image

SIZE = (300, 400)


def plain(*colour):
    return np.full((*SIZE, 3), colour, np.uint8)


def chart():
    image = plain(255, 255, 255)
    for index in range(6):
        cv2.rectangle(image, (40 + 58 * index, 280), (80 + 58 * index, 240 - 30 * index), 0, -1)
    cv2.line(image, (20, 280), (380, 280), (0, 0, 0), 2)
    return image


def page():
    image = plain(245, 245, 245)
    for row in range(20, 290, 20):
        text = "the quick brown fox jumps over the lazy dog"
        cv2.putText(image, text, (10, row), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (20, 20, 20), 1)
    return image


def noise(grey=False):
    shape = (*SIZE, 1) if grey else (*SIZE, 3)
    drawn = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return np.repeat(drawn, 3, axis=2) if grey else drawn


UNJUDGED = {
    "black": (plain(0, 0, 0), NO_TEXTURE),
    "white": (plain(255, 255, 255), NO_TEXTURE),
    "a colour": (plain(30, 90, 200), NO_TEXTURE),
    "one pixel": (plain(1, 2, 3)[:1, :1], NO_TEXTURE),
    "a chart": (chart(), NO_TEXTURE),
    "a chart as JPEG": (through_channel(chart(), "jpeg:70"), NO_TEXTURE),
    "a page": (page(), NO_TEXTURE),
    "a page as JPEG": (through_channel(page(), "jpeg:70"), NO_TEXTURE),
    "noise": (noise(), NOISE),
    "grey noise": (noise(grey=True), NOISE),
}


@pytest.fixture(scope="module")
def engine():
    with lineup.open(device="cpu") as opened:
        yield opened


@pytest.mark.parametrize("name", UNJUDGED)
def test_nobody_made_it_and_the_answer_says_why(engine, name):
    pixels, reason = UNJUDGED[name]
    assert unjudged_reason(pixels) == reason

    verdict = engine.attribute(pixels).verdict

    assert verdict.label == UNDETERMINED
    assert verdict.posterior == pytest.approx(prior_from_candidates(engine.candidates))
    assert reason in verdict.evidence[0].notes


def test_no_source_is_verified(engine):
    found = engine.verify(plain(0, 0, 0), engine.sources[0])

    assert not found.accepted
    assert found.llr == 0
    assert NO_TEXTURE in found.notes


def test_a_scan_says_the_same(engine, tmp_path):
    path = tmp_path / "black.png"
    cv2.imwrite(str(path), plain(0, 0, 0))

    (row,) = engine.scan(path)

    assert row.verdict.posterior == engine.attribute(path).verdict.posterior
    assert is_unjudged(row.verdict.evidence[0].notes)


@pytest.mark.parametrize("source", SOURCES)
def test_pictures_are_judged(source):
    pixels = draw_image(source, 0)

    assert unjudged_reason(pixels) is None
    strong = cv2.imdecode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], 1)
    assert unjudged_reason(strong) is None
