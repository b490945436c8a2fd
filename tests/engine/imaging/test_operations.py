from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from lineup.errors import UnsupportedImageError, UsageError
from lineup.imaging.operations import (
    Operation,
    OperationKind,
    operation_from_text,
)


@pytest.fixture
def pixels() -> np.ndarray:
    """Smooth colours with some noise, 40 rows by 60 columns."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:40, :60]
    image = np.stack([4 * columns, 6 * rows, 255 - 4 * columns], axis=2)
    return np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)


ALL = ["jpeg:90", "webp:80", "resize:0.5", "resize:2", "blur:1", "crop:0.8", "noise:2"]


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("jpeg:70", OperationKind.JPEG, 70),
        ("jpeg", OperationKind.JPEG, 90),
        ("resize:0.75", OperationKind.RESIZE, 0.75),
        (" blur:1.0 ", OperationKind.BLUR, 1),
        ("crop", OperationKind.CROP, 0.8),
        ("noise:2", OperationKind.NOISE, 2),
    ],
)
def test_text_names_an_operation(text, kind, value):
    assert operation_from_text(text) == Operation(kind, value)


@pytest.mark.parametrize("text", ALL)
def test_an_operation_reads_as_it_was_written(text):
    assert str(operation_from_text(text)) == text


@pytest.mark.parametrize("text", ["", "gif:3", "jpeg:", "jpeg:high", "90", "jpeg:90:1"])
def test_what_is_no_operation_is_refused_with_those_there_are(text):
    with pytest.raises(UsageError, match="is no operation") as caught:
        operation_from_text(text)

    assert "jpeg:90, webp:80" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("jpeg:0", "jpeg takes a whole number from 1 to 100"),
        ("jpeg:90.5", "whole number"),
        ("webp:101", "webp takes a whole number"),
        ("resize:0", "from 0.05 to 8"),
        ("blur:nan", "blur takes a number"),
        ("crop:1.5", "crop takes a number from 0.05 to 1"),
    ],
)
def test_value_out_of_range_is_refused_with_the_range(text, hint):
    with pytest.raises(UsageError) as caught:
        operation_from_text(text)

    assert hint in str(caught.value.hint)


@pytest.mark.parametrize("text", ALL)
def test_an_operation_is_repeatable_and_leaves_its_input(pixels, text):
    before = pixels.copy()

    first, again = (operation_from_text(text)(pixels) for _ in range(2))

    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(pixels, before)
    assert first.dtype == np.uint8
    assert first.flags.c_contiguous
    assert not np.array_equal(first, pixels)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("jpeg:90", (40, 60)), ("webp:80", (40, 60)), ("blur:1", (40, 60)), ("noise:2", (40, 60)),
        ("resize:0.5", (20, 30)), ("resize:0.05", (2, 3)), ("resize:1.5", (60, 90)),
        ("crop:0.8", (32, 48)), ("crop:0.05", (2, 3)),
    ],
)  # fmt: skip
def test_only_resize_and_crop_change_the_size(pixels, text, size):
    assert operation_from_text(text)(pixels).shape == (*size, 3)


def test_jpeg_equals_that_of_another_encoder_with_the_same_tables(pixels):
    # libjpeg through Pillow, 4:2:0: the same tables, the same rounding up to the colour transform.
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=70, subsampling="4:2:0")
    expected = np.asarray(Image.open(stream).convert("RGB")).astype(int)

    found = operation_from_text("jpeg:70")(pixels).astype(int)

    assert np.abs(found - expected).mean() < 0.5


def test_lower_quality_changes_more(pixels):
    errors = [
        np.abs(operation_from_text(f"{kind}:{quality}")(pixels).astype(int) - pixels).mean()
        for kind in ("jpeg", "webp")
        for quality in (95, 60, 10)
    ]

    assert errors[0] < errors[1] < errors[2]
    assert errors[3] < errors[4] < errors[5]


def test_halving_averages_blocks(pixels):
    blocks = pixels.reshape(20, 2, 30, 2, 3).mean(axis=(1, 3))

    np.testing.assert_allclose(operation_from_text("resize:0.5")(pixels), blocks, atol=0.51)


def test_crop_keeps_the_centre(pixels):
    np.testing.assert_array_equal(operation_from_text("crop:0.8")(pixels), pixels[4:36, 6:54])
    np.testing.assert_array_equal(operation_from_text("crop:1")(pixels), pixels)


def test_blur_spreads_an_edge_as_its_sigma_says():
    edge = np.zeros((31, 31, 3), np.uint8)
    edge[:, 16:] = 255

    rise = np.diff(operation_from_text("blur:2")(edge)[15, :, 0].astype(float))

    offsets = np.arange(30) - 15
    assert np.sqrt((rise * offsets**2).sum() / rise.sum()) == pytest.approx(2, rel=0.05)


def test_noise_has_its_sigma_and_belongs_to_the_image():
    grey = np.full((100, 100, 3), 128, np.uint8)
    noise = operation_from_text("noise:4")

    added = noise(grey).astype(float) - 128
    other = noise(grey + np.uint8(1)).astype(float) - 129

    assert added.std() == pytest.approx(4, rel=0.05)
    assert abs(np.corrcoef(added.ravel(), other.ravel())[0, 1]) < 0.05


def test_a_codec_that_raises_is_an_error_of_that_image(monkeypatch):
    def raises(*_):
        raise cv2.error("too large")

    monkeypatch.setattr(cv2, "imencode", raises)
    with pytest.raises(UnsupportedImageError, match=r"16x8 pixels cannot be written as \.jpg"):
        operation_from_text("jpeg:90")(np.zeros((8, 16, 3), np.uint8))


def test_too_large_for_the_format_is_an_error_of_that_image():
    with pytest.raises(UnsupportedImageError, match=r"16400x1 pixels cannot be written as \.webp"):
        operation_from_text("webp:80")(np.zeros((1, 16400, 3), np.uint8))


def test_operations_work_on_views(pixels):
    view = cv2.flip(pixels, 1)[::-1, ::-1][2:, 3:]

    for text in ALL:
        np.testing.assert_array_equal(
            operation_from_text(text)(view), operation_from_text(text)(np.ascontiguousarray(view))
        )
