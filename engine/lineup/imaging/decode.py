"""Decode images in a way that evidence can rest on.

Formats are told by content, sizes are checked before pixels are allocated, incomplete and damaged
files are refused, and whatever was converted on the way to 8-bit RGB is said in the notes. Colour
profiles are never applied: the fingerprint of a generator lies in the stored values.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lineup.errors import ImageError, ImageTooLargeError, UnreadableImageError
from lineup.imaging.bmp import header_from_bmp
from lineup.imaging.decoders import (
    Raster,
    header_from_frames,
    header_from_heif,
    raster_from_heif,
    raster_from_opencv,
    raster_from_pillow,
    rgb_from_raster,
)
from lineup.imaging.header import (
    DEFAULT_LIMITS,
    DecodeLimits,
    Decoder,
    Header,
    ImageFormat,
    format_from_bytes,
)
from lineup.imaging.hidden import hidden_from_pixels
from lineup.imaging.jpeg import header_from_jpeg, raster_from_jpeg
from lineup.imaging.png import header_from_png, raster_from_png
from lineup.imaging.tiff import header_from_tiff
from lineup.imaging.tiff_data import raster_from_tiff
from lineup.imaging.webp import header_from_webp
from lineup.types import RgbImage

# A FIFO would block in open() until somebody writes to it; Windows has neither flag nor FIFOs.
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

_SPECIAL_FILES = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


def bytes_from_path(path: Path, *, limits: DecodeLimits = DEFAULT_LIMITS) -> bytes:
    """Read a regular file.

    Symbolic links are followed; a file over `limits.max_bytes` is refused before it is read.

    Returns:
        The content; never empty.

    Raises:
        UnreadableImageError: Missing, empty, a folder, a device, without permission, or failing.
        ImageTooLargeError: Over `limits.max_bytes`.
    """
    try:
        # Asked before opening, because opening a device can already act on it.
        _check_regular(path, path.stat())
        data = _content(path, limits)
    except ImageError:
        raise
    except FileNotFoundError:
        raise UnreadableImageError(f"{path} does not exist; expected an image file") from None
    except PermissionError:
        raise UnreadableImageError(
            f"{path} may not be read: permission denied",
            hint="Give the user that runs lineup read permission.",
        ) from None
    except (OSError, ValueError, MemoryError) as error:
        # ValueError: a zero byte inside the path.
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UnreadableImageError(f"{path} cannot be read: {reason}") from None
    if not data:
        raise UnreadableImageError(f"{path} is empty (0 bytes); expected an image file")
    return data


def _content(path: Path, limits: DecodeLimits) -> bytes:
    with os.fdopen(os.open(path, _OPEN_FLAGS), "rb") as stream:
        # Asked again: the path may name something else by now.
        status = os.fstat(stream.fileno())
        _check_regular(path, status)
        limits.check_bytes(status.st_size)
        # One byte over the limit, so that a file that still grows is refused too.
        data = stream.read(limits.max_bytes + 1)
    limits.check_bytes(len(data))
    return data


def _check_regular(path: Path, status: os.stat_result) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    if stat.S_ISDIR(status.st_mode):
        locked = "" if os.access(path, os.R_OK | os.X_OK) else " without read permission"
        raise UnreadableImageError(f"{path} is a folder{locked}; expected an image file")
    kind = _SPECIAL_FILES.get(stat.S_IFMT(status.st_mode), "a special file")
    raise UnreadableImageError(f"{path} is {kind}; expected a regular image file")


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """One image, ready for evidence.

    Attributes:
        pixels: Shape (height, width, 3), uint8, 0..255, RGB order, upright.
        format: Format of the file: "jpeg", "png", "webp", "tiff", "bmp", "gif", "avif" or "heic".
        notes: What was converted or ignored, e.g. "16-bit reduced to 8".
        hidden: What a program hid in the lowest bits, after the signature; see `hidden.py`.
    """

    pixels: RgbImage
    format: str
    notes: tuple[str, ...]
    hidden: bytes | None = None

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
        header: What the structure says.
        limits: Sizes that are refused.
    """

    header: Header
    limits: DecodeLimits

    def decoded(self) -> DecodedImage:
        """Decode the first frame or primary picture, with the EXIF orientation applied.

        Raises:
            UnreadableImageError: Truncated or damaged.
            UnsupportedImageError: Of a kind that no decoder gets right.
            ImageTooLargeError: Over the limits, or over the memory of this machine.
        """
        with _decoder_errors(self.header.format):
            raster = self._raster()
            hidden = hidden_from_pixels(raster.pixels)
            pixels, notes = rgb_from_raster(raster)
        return DecodedImage(pixels, self.header.format.value, notes, hidden)

    def _raster(self) -> Raster:
        if self.header.format is ImageFormat.JPEG:
            return raster_from_jpeg(self.header, self.limits)
        if self.header.format is ImageFormat.PNG:
            return raster_from_png(self.header)
        if self.header.format is ImageFormat.TIFF:
            return raster_from_tiff(self.header, self.limits)
        if self.header.decoder is Decoder.LIBHEIF:
            return raster_from_heif(self.header)
        if self.header.decoder is Decoder.PILLOW:
            return raster_from_pillow(self.header, self.limits)
        return raster_from_opencv(self.header)


_HEADER_READERS: dict[ImageFormat, Callable[[bytes, DecodeLimits], Header]] = {
    ImageFormat.JPEG: header_from_jpeg,
    ImageFormat.PNG: header_from_png,
    ImageFormat.WEBP: header_from_webp,
    ImageFormat.TIFF: header_from_tiff,
    ImageFormat.BMP: header_from_bmp,
}
_LIBRARIES: dict[ImageFormat, Callable[[bytes, DecodeLimits], Header]] = {
    ImageFormat.HEIC: header_from_heif,
    ImageFormat.GIF: partial(header_from_frames, ImageFormat.GIF),
    ImageFormat.AVIF: partial(header_from_frames, ImageFormat.AVIF),
}


def image_from_bytes(data: bytes, *, limits: DecodeLimits = DEFAULT_LIMITS) -> DecodedImage:
    """Decode an image file that is in memory.

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

    Raises:
        UnreadableImageError: Empty, truncated or damaged.
        UnsupportedImageError: Not an image, or of a kind that no decoder gets right.
        ImageTooLargeError: Over the limits.
    """
    limits.check_bytes(len(data))
    image_format = format_from_bytes(data)
    with _decoder_errors(image_format):
        # What a library raises on the way to the header becomes an error here.
        read_header = _HEADER_READERS.get(image_format) or _LIBRARIES[image_format]
        return EncodedImage(read_header(data, limits), limits)


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
