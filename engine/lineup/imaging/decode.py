"""Decode images in a way that evidence can rest on.

Formats are told by content, sizes are checked before pixels are allocated, incomplete and damaged
files are refused, and whatever was converted on the way to 8-bit RGB is said in the notes. Colour
profiles are never applied: the fingerprint of a generator lies in the stored values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lineup.errors import ImageError, ImageTooLargeError, UnreadableImageError
from lineup.imaging.bmp import header_from_bmp
from lineup.imaging.formats import ImageFormat, format_from_bytes
from lineup.imaging.header import Decoder, Header
from lineup.imaging.heif_decoder import raster_from_heif, size_from_heif
from lineup.imaging.jpeg import header_from_jpeg
from lineup.imaging.limits import DEFAULT_LIMITS, DecodeLimits
from lineup.imaging.opencv_decoder import raster_from_opencv
from lineup.imaging.pillow_decoder import (
    raster_from_avif,
    raster_from_gif,
    raster_from_pillow,
    size_from_avif,
    size_from_gif,
)
from lineup.imaging.png import header_from_png
from lineup.imaging.raster import Raster, rgb_from_raster
from lineup.imaging.read import bytes_from_path
from lineup.imaging.tiff import header_from_tiff
from lineup.imaging.webp import header_from_webp
from lineup.types import RgbImage

__all__ = [
    "DecodeLimits",
    "DecodedImage",
    "EncodedImage",
    "bytes_from_path",
    "encoded_from_bytes",
    "image_from_bytes",
    "image_from_path",
]


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """One image, ready for evidence.

    Attributes:
        pixels: Shape (height, width, 3), uint8, 0..255, RGB order, upright.
        format: Format of the file: "jpeg", "png", "webp", "tiff", "bmp", "gif", "avif" or "heic".
        bit_depth: Bits per channel of the file.
        frame_count: Frames, pages or pictures in the file; `pixels` is the first or primary one.
        notes: What was converted or ignored, e.g. "16-bit reduced to 8".
    """

    pixels: RgbImage
    format: str
    bit_depth: int
    frame_count: int
    notes: tuple[str, ...]

    @property
    def width_px(self) -> int:
        """Width of the upright image in pixels."""
        return int(self.pixels.shape[1])

    @property
    def height_px(self) -> int:
        """Height of the upright image in pixels."""
        return int(self.pixels.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class EncodedImage:
    """An image file whose structure was read and is within the limits; no pixel is decoded yet.

    Attributes:
        format: Format of the file.
        width_px: Width as stored, before the orientation is applied.
        height_px: Height as stored.
        raster: Decodes the pixels.
    """

    format: ImageFormat
    width_px: int
    height_px: int
    raster: Callable[[], Raster]

    def decoded(self) -> DecodedImage:
        """Decode the first frame or primary picture, with the EXIF orientation applied.

        Raises:
            UnreadableImageError: Truncated or damaged.
            UnsupportedImageError: Of a kind that no decoder gets right.
            ImageTooLargeError: Over the limits, or over the memory of this machine.
        """
        with _decoder_errors(self.format):
            raster = self.raster()
            pixels, notes = rgb_from_raster(raster)
        return DecodedImage(
            pixels=pixels,
            format=self.format.value,
            bit_depth=raster.bit_depth,
            frame_count=raster.frame_count,
            notes=notes,
        )


_LibraryDecoder = tuple[Callable[[bytes], tuple[int, int]], Callable[[bytes, DecodeLimits], Raster]]
"""What tells width and height, and what decodes."""

_HEADER_READERS: dict[ImageFormat, Callable[[bytes, DecodeLimits], Header]] = {
    ImageFormat.JPEG: header_from_jpeg,
    ImageFormat.PNG: header_from_png,
    ImageFormat.WEBP: header_from_webp,
    ImageFormat.TIFF: header_from_tiff,
    ImageFormat.BMP: header_from_bmp,
}

# The libraries of these read the header alone first, as lineup does for the formats above.
_LIBRARY_DECODERS: dict[ImageFormat, _LibraryDecoder] = {
    ImageFormat.GIF: (size_from_gif, raster_from_gif),
    ImageFormat.AVIF: (size_from_avif, raster_from_avif),
    ImageFormat.HEIC: (size_from_heif, raster_from_heif),
}


def image_from_bytes(data: bytes, *, limits: DecodeLimits = DEFAULT_LIMITS) -> DecodedImage:
    """Decode an image file that is in memory.

    Args:
        data: Content of the file.
        limits: Sizes that are refused before anything is decoded.

    Returns:
        The first frame or primary picture, with the EXIF orientation applied.

    Raises:
        UnreadableImageError: Empty, truncated or damaged.
        UnsupportedImageError: Not an image, or of a kind that no decoder gets right.
        ImageTooLargeError: Over the limits, or over the memory of this machine.
    """
    return encoded_from_bytes(data, limits=limits).decoded()


def encoded_from_bytes(data: bytes, *, limits: DecodeLimits = DEFAULT_LIMITS) -> EncodedImage:
    """Read the structure of an image file that is in memory, to decode it later or not at all.

    Args:
        data: Content of the file.
        limits: Sizes that are refused.

    Raises:
        UnreadableImageError: Empty, truncated or damaged.
        UnsupportedImageError: Not an image, or of a kind that no decoder gets right.
        ImageTooLargeError: Over the limits.
    """
    limits.check_bytes(len(data))
    image_format = format_from_bytes(data)
    with _decoder_errors(image_format):
        if image_format in _LIBRARY_DECODERS:
            read_size, decode = _LIBRARY_DECODERS[image_format]
            width_px, height_px = read_size(data)
            limits.check_pixels(width_px, height_px)
            return EncodedImage(image_format, width_px, height_px, partial(decode, data, limits))
        header = _HEADER_READERS[image_format](data, limits)
    raster = partial(_raster_from_header, header, limits)
    return EncodedImage(image_format, header.width_px, header.height_px, raster)


def image_from_path(path: Path, *, limits: DecodeLimits = DEFAULT_LIMITS) -> DecodedImage:
    """Read and decode an image file; see `image_from_bytes`.

    Raises:
        ImageError: The file cannot be read or decoded; the message names the path.
    """
    data = bytes_from_path(path, limits=limits)
    try:
        return image_from_bytes(data, limits=limits)
    except ImageError as error:
        raise type(error)(f"{path}: {error.message}", hint=error.hint) from error


def _raster_from_header(header: Header, limits: DecodeLimits) -> Raster:
    if header.decoder is Decoder.PILLOW:
        return raster_from_pillow(header, limits)
    return raster_from_opencv(header)


@contextmanager
def _decoder_errors(image_format: ImageFormat) -> Iterator[None]:
    """Turn whatever a decoder raises into an ImageError, so that one image never ends a scan."""
    try:
        yield
    except ImageError:
        raise
    except MemoryError:
        raise ImageTooLargeError("decoding it needs more memory than this machine has") from None
    except Exception as error:
        # Decoders raise cv2.error, OSError, SyntaxError, ValueError, struct.error, EOFError, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableImageError(f"damaged {image_format.value.upper()}: {reason}") from error
