"""Every format, conversion and note of image_from_bytes."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest
from PIL import Image, ImageOps

from lineup.errors import (
    ImageError,
    ImageTooLargeError,
    UnreadableImageError,
    UnsupportedImageError,
)
from lineup.imaging import decode
from lineup.imaging.decode import DecodedImage, image_from_bytes
from lineup.imaging.header import DecodeLimits

LOSSLESS = [
    ("PNG", {}, "png"),
    ("WEBP", {"lossless": True}, "webp"),
    ("TIFF", {}, "tiff"),
    ("TIFF", {"compression": "tiff_lzw"}, "tiff"),
    ("TIFF", {"compression": "tiff_adobe_deflate"}, "tiff"),
    ("BMP", {}, "bmp"),
]


@pytest.mark.parametrize(("file_format", "options", "name"), LOSSLESS)
def test_lossless_formats_return_the_stored_pixels(photo, encode, file_format, options, name):
    image = image_from_bytes(encode(photo, file_format, **options))
    assert (image.pixels == photo).all()
    assert image == DecodedImage(image.pixels, name, ())
    assert (image.width_px, image.height_px) == (120, 90)
    assert image.pixels.flags.c_contiguous
    assert image.pixels.dtype == np.uint8


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("quality", [30, 75, 95])
def test_jpeg_is_bit_identical_to_libjpeg_turbo(photo, encode, subsampling, progressive, quality):
    data = encode(photo, "JPEG", quality=quality, subsampling=subsampling, progressive=progressive)
    reference = np.asarray(Image.open(io.BytesIO(data)))
    image = image_from_bytes(data)
    assert (image.pixels == reference).all()
    assert image.notes == ()


def test_jpeg_that_stores_rgb(photo, encode):
    data = encode(photo, "JPEG", quality=95, keep_rgb=True)
    assert (image_from_bytes(data).pixels == np.asarray(Image.open(io.BytesIO(data)))).all()


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_exactly_once(photo, encode, file_format, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    options = {"lossless": True} if file_format == "WEBP" else {"quality": 100}
    data = encode(photo, file_format, exif=exif, **options)
    stored = image_from_bytes(encode(photo, file_format, **options)).pixels
    tagged = Image.fromarray(stored)
    tagged.getexif()[274] = orientation
    image = image_from_bytes(data)
    assert (image.pixels == np.asarray(ImageOps.exif_transpose(tagged))).all()
    expected_notes = () if orientation == 1 else (f"orientation {orientation} applied",)
    assert image.notes == expected_notes


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_orientation_that_does_not_exist_is_ignored(photo, encode, file_format, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    assert image_from_bytes(encode(photo, file_format, exif=exif)).pixels.shape == photo.shape


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "BMP", "GIF"])
def test_grey_becomes_rgb(photo, encode, file_format):
    grey = np.ascontiguousarray(photo[..., 0])
    image = image_from_bytes(encode(grey, file_format, quality=100))
    assert image.pixels.shape == photo.shape
    assert np.abs(image.pixels.astype(int) - grey[..., None]).max() <= (file_format == "JPEG") * 2
    assert (image.pixels[..., 0] == image.pixels[..., 2]).all()


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_composited_over_white(photo, encode, file_format):
    alpha = np.tile(np.linspace(0, 255, photo.shape[1]).astype(np.uint8), (photo.shape[0], 1))
    options = {"lossless": True, "exact": True} if file_format == "WEBP" else {}
    image = image_from_bytes(encode(np.dstack([photo, alpha]), file_format, **options))
    exact = (photo * (alpha[..., None] / 255)) + (255.0 - alpha[..., None])
    assert np.abs(image.pixels - exact).max() <= 0.5 + 1e-9
    assert image.notes == ("alpha composited over white",)


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_opaque_alpha_is_dropped_without_a_note(photo, encode, file_format):
    opaque = np.dstack([photo, np.full(photo.shape[:2], 255, np.uint8)])
    options = {"lossless": True} if file_format == "WEBP" else {}
    image = image_from_bytes(encode(opaque, file_format, **options))
    assert image.notes == ()
    if file_format != "AVIF":
        assert (image.pixels == photo).all()


def test_cmyk_jpeg_is_converted_and_said_so(photo, encode):
    data = encode(photo, "JPEG", mode="CMYK", quality=95)
    image = image_from_bytes(data)
    assert (image.pixels == np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))).all()
    assert np.abs(image.pixels.astype(int) - photo).mean() < 6
    assert image.notes == ("CMYK converted to RGB",)


def test_cmyk_tiff_is_converted_and_said_so(photo, encode):
    image = image_from_bytes(encode(photo, "TIFF", mode="CMYK"))
    assert (image.pixels == photo).all()
    assert image.notes == ("CMYK converted to RGB",)


@pytest.mark.parametrize(
    ("file_format", "note"),
    [
        ("GIF", "first of 4 frames"),
        ("WEBP", "first of 4 frames"),
        ("PNG", "first of 4 frames"),
        ("AVIF", "first of 4 frames"),
        ("TIFF", "first of 4 pages"),
    ],
)
def test_animations_give_their_first_frame(photo, encode, file_format, note):
    frames = [Image.fromarray(np.roll(photo, 10 * i, axis=1)) for i in range(4)]
    options = {"lossless": True} if file_format == "WEBP" else {"quality": 100}
    data = encode(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
    image = image_from_bytes(data)
    first = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert (image.pixels == first).all()
    assert note in image.notes


def test_transparent_gif(photo, encode):
    palette = Image.fromarray(photo).quantize(16)
    image = image_from_bytes(encode(palette, "GIF", transparency=palette.getpixel((0, 0))))
    assert image.notes == ("alpha composited over white",)
    assert (image.pixels[0, 0] == 255).all()


def test_avif(photo, encode):
    image = image_from_bytes(encode(photo, "AVIF", quality=100, subsampling="4:4:4"))
    assert np.abs(image.pixels.astype(int) - photo).max() <= 4
    assert (image.format, image.notes) == ("avif", ())


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP", "WEBP", "JPEG", "GIF", "AVIF"])
def test_pixel_limit_is_checked_for_every_format(photo, encode, file_format):
    data = encode(photo, file_format)
    assert image_from_bytes(data, limits=DecodeLimits(max_pixels=90 * 120)).height_px == 90
    with pytest.raises(ImageTooLargeError, match=r"120 x 90 pixels; the limit is 10,799"):
        image_from_bytes(data, limits=DecodeLimits(max_pixels=90 * 120 - 1))


def test_a_bomb_is_refused_at_once_and_without_memory(photo, png):
    bomb = png(photo, 2, size=(60_000, 60_000))
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(ImageTooLargeError, match="60,000 x 60,000"):
        image_from_bytes(bomb)
    elapsed_ms = 1000 * (time.process_time() - started)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert elapsed_ms < 50
    assert peak_bytes < 2**20


def test_an_image_over_pillows_own_limit_passes_without_warning(photo, encode, monkeypatch):
    # Pillow warns above a size of its own and refuses above twice that.
    data = encode(photo, "GIF")
    for own_limit in (10_000, 100):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", own_limit)
        assert image_from_bytes(data).height_px == 90


def test_byte_limit(photo, encode):
    data = encode(photo, "PNG")
    with pytest.raises(ImageTooLargeError, match="bytes; the limit is 100"):
        image_from_bytes(data, limits=DecodeLimits(max_bytes=100))


def test_opencvs_own_limit_is_explained(photo, encode):
    # OpenCV reads the variable once, when it is loaded.
    script = (
        "import sys\n"
        "from lineup.errors import ImageTooLargeError\n"
        "from lineup.imaging.decode import image_from_bytes\n"
        "try:\n"
        "    image_from_bytes(sys.stdin.buffer.read())\n"
        "except ImageTooLargeError as error:\n"
        "    print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        input=encode(photo, "PNG"),
        capture_output=True,
        check=True,
        env={
            **os.environ,
            "OPENCV_IO_MAX_IMAGE_PIXELS": "1000",
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
    )
    assert b"120 x 90 pixels are over the limit of OpenCV" in result.stdout
    assert b"OPENCV_IO_MAX_IMAGE_PIXELS" in result.stdout
    assert result.stderr == b""


def test_broken_files_write_nothing_to_stderr(photo, encode, capfd):
    for file_format in ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "AVIF"):
        data = encode(photo, file_format)
        for kept in (0.3, 0.6, 0.95):
            with pytest.raises(ImageError):
                image_from_bytes(data[: int(len(data) * kept)])
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "AVIF"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_truncated_files_are_unreadable(photo, encode, file_format, kept):
    large = np.tile(photo, (3, 3, 1))
    data = encode(large, file_format)
    with pytest.raises(UnreadableImageError):
        image_from_bytes(data[: int(len(data) * kept)])


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (MemoryError(), ImageTooLargeError),
        (OSError("broken data stream"), UnreadableImageError),
        (SyntaxError("not a file"), UnreadableImageError),
        (ZeroDivisionError(), UnreadableImageError),
        (UserWarning("as errors"), UnreadableImageError),
        (UnsupportedImageError("kept as it is"), UnsupportedImageError),
    ],
)
def test_whatever_a_decoder_raises_becomes_an_image_error(
    photo, encode, monkeypatch, raised, expected
):
    def fail(_header):
        raise raised

    monkeypatch.setattr(decode, "raster_from_opencv", fail)
    with pytest.raises(expected):
        image_from_bytes(encode(photo, "WEBP"))
