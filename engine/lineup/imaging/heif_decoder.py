"""Decode HEIC with libheif, through `pi_heif` (pillow-heif without its encoders)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lineup.errors import UnsupportedImageError
from lineup.imaging.limits import DecodeLimits
from lineup.imaging.raster import Raster

if TYPE_CHECKING:
    from pi_heif import HeifFile


def size_from_heif(data: bytes) -> tuple[int, int]:
    """Return width and height of the primary picture in pixels.

    Raises:
        UnsupportedImageError: No decoder is installed.
    """
    width_px, height_px = _opened(data).size
    return width_px, height_px


def raster_from_heif(data: bytes, limits: DecodeLimits) -> Raster:
    """Decode the primary picture of a HEIC file.

    libheif turns it as its `irot` and `imir` boxes say. The EXIF orientation is not applied: the
    standard (ISO/IEC 23008-12, annex A) makes it informative, and cameras write both.

    Raises:
        UnsupportedImageError: No decoder is installed, or premultiplied alpha.
        ImageTooLargeError: Over the limits.
    """
    container = _opened(data)
    limits.check_pixels(*container.size)
    picture = container[container.primary_index]
    if picture.premultiplied_alpha:
        raise UnsupportedImageError("HEIC with premultiplied alpha has no exact decoder")
    count = len(container)
    return Raster(
        pixels=np.array(picture),
        bit_depth=int(picture.info["bit_depth"]),
        frame_count=count,
        notes=(f"primary of {count} pictures",) if count > 1 else (),
    )


def _opened(data: bytes) -> HeifFile:
    """Open a file without decoding it."""
    try:
        import pi_heif  # noqa: PLC0415 - loads libheif, which few scans need
    except ImportError:
        raise UnsupportedImageError(
            "HEIC needs the package pi-heif", hint="Install it: pip install pi-heif"
        ) from None
    return pi_heif.open_heif(data, convert_hdr_to_8bit=False, hdr_to_16bit=False)
