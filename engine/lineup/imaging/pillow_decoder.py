"""Decode with Pillow what OpenCV cannot decode or gets wrong.

The plugin classes are opened directly: `PIL.Image.open` guesses the format again, and has a pixel
limit of its own, which warns. They read headers only; pixels come with `load`.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    features,
)

from lineup.errors import ImageTooLargeError, UnsupportedImageError
from lineup.imaging.formats import ImageFormat
from lineup.imaging.header import Header
from lineup.imaging.ifd import orientation_from_exif
from lineup.imaging.limits import DecodeLimits
from lineup.imaging.raster import Raster
from lineup.types import AnyArray

_PLUGINS: dict[ImageFormat, type[ImageFile.ImageFile]] = {
    ImageFormat.AVIF: AvifImagePlugin.AvifImageFile,
    ImageFormat.BMP: BmpImagePlugin.BmpImageFile,
    ImageFormat.GIF: GifImagePlugin.GifImageFile,
    ImageFormat.JPEG: JpegImagePlugin.JpegImageFile,
    ImageFormat.TIFF: TiffImagePlugin.TiffImageFile,
    ImageFormat.WEBP: WebPImagePlugin.WebPImageFile,
}
COLOUR_MODES = frozenset(
    {"1", "L", "P", "RGB", "RGBX", "YCbCr", "CMYK", "LA", "PA", "RGBA", "RGBa"}
)
_GREY_MODES = frozenset({"1", "L"})

_warnings_lock = threading.Lock()


def raster_from_pillow(header: Header, limits: DecodeLimits) -> Raster:
    """Decode the first image of a file whose structure was read.

    Raises:
        UnsupportedImageError: A colour model that has no defined conversion to RGB.
        ImageTooLargeError: The decoder sees a larger image than the header, over the limits.
    """
    with _opened(header.stream, header.format) as image:
        limits.check_pixels(*image.size)
        pixels, notes = pixels_from_pillow(image)
    return Raster(
        pixels=pixels,
        bit_depth=header.bit_depth,
        frame_count=header.frame_count,
        orientation=header.orientation,
        notes=header.notes + notes,
    )


def size_from_gif(data: bytes) -> tuple[int, int]:
    """Return width and height in pixels."""
    return _size_from_bytes(data, ImageFormat.GIF)


def raster_from_gif(data: bytes, limits: DecodeLimits) -> Raster:
    """Decode the first frame of a GIF; OpenCV before 4.11 has no decoder.

    Raises:
        ImageTooLargeError: Over the limits.
    """
    with _opened(data, ImageFormat.GIF) as image:
        limits.check_pixels(*image.size)
        frame_count = _frame_count(image)
        pixels, notes = pixels_from_pillow(image)
    first = (f"first of {frame_count} frames",) if frame_count > 1 else ()
    return Raster(pixels=pixels, bit_depth=8, frame_count=frame_count, notes=first + notes)


def size_from_avif(data: bytes) -> tuple[int, int]:
    """Return width and height in pixels.

    Raises:
        UnsupportedImageError: This build of Pillow has no AVIF decoder.
    """
    _require_avif()
    return _size_from_bytes(data, ImageFormat.AVIF)


def raster_from_avif(data: bytes, limits: DecodeLimits) -> Raster:
    """Decode the first frame of an AVIF file; only some builds of OpenCV can.

    Raises:
        UnsupportedImageError: This build of Pillow has no AVIF decoder.
        ImageTooLargeError: Over the limits.
    """
    _require_avif()
    with _opened(data, ImageFormat.AVIF) as image:
        limits.check_pixels(*image.size)
        frame_count = _frame_count(image)
        # libavif leaves the rotation and mirror boxes to the caller; Pillow states them as EXIF.
        orientation = orientation_from_exif(image.info.get("exif", b""))
        pixels, notes = pixels_from_pillow(image)
    return Raster(
        pixels=pixels,
        bit_depth=_avif_bit_depth(data),
        frame_count=frame_count,
        orientation=orientation,
        notes=((f"first of {frame_count} frames",) if frame_count > 1 else ()) + notes,
    )


def rgb_from_jpeg(data: bytes) -> AnyArray:
    """Decode a JPEG file to RGB, shape (height, width, 3); libjpeg's warnings are not printed."""
    with _opened(data, ImageFormat.JPEG) as image:
        return np.asarray(image.convert("RGB"))


def _require_avif() -> None:
    if not features.check("avif"):
        raise UnsupportedImageError(
            "AVIF needs a build of Pillow with libavif",
            hint="Install Pillow 11.3 or later from PyPI: pip install --upgrade pillow",
        )


def _size_from_bytes(data: bytes, image_format: ImageFormat) -> tuple[int, int]:
    with _opened(data, image_format) as image:
        return image.size


@contextmanager
def _opened(data: bytes, image_format: ImageFormat) -> Iterator[ImageFile.ImageFile]:
    """Open a file without decoding it."""
    try:
        with _without_warnings():
            image = _PLUGINS[image_format](BytesIO(data))
    except Image.DecompressionBombError as error:
        # A GIF whose first frame is larger than its screen.
        raise ImageTooLargeError(str(error)) from None
    with image:
        yield image


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep Pillow from warning about odd metadata and large frames.

    Python's warning filters are global, so one thread at a time may change and restore them.
    """
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _frame_count(image: ImageFile.ImageFile) -> int:
    with _without_warnings():
        frame_count = int(getattr(image, "n_frames", 1))
        image.seek(0)
    return frame_count


def pixels_from_pillow(image: Image.Image) -> tuple[AnyArray, tuple[str, ...]]:
    """Decode to grey, RGB or RGBA as `Raster` has them, with remarks."""
    if image.mode not in COLOUR_MODES:
        raise UnsupportedImageError(
            f"pixels of mode {image.mode} have no defined conversion to 8-bit RGB",
            hint="Save the image as 8-bit RGB.",
        )
    if image.mode == "CMYK":
        # Without the profile, as browsers do: what matters is the same arithmetic everywhere.
        return np.array(image.convert("RGB")), ("CMYK converted to RGB",)
    if image.has_transparency_data:
        return np.array(image.convert("RGBA")), ()
    return np.array(image.convert("L" if image.mode in _GREY_MODES else "RGB")), ()


def _avif_bit_depth(data: bytes) -> int:
    """Read the depth from the codec configuration box (AV1 in ISOBMFF, section 2.3.3)."""
    at = data.find(b"av1C")
    flags = data[at + 6] if 0 <= at < len(data) - 6 else 0
    is_high, is_twelve = flags & 0x40, flags & 0x20
    return (12 if is_twelve else 10) if is_high else 8
