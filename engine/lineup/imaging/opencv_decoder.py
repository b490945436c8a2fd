"""Decode with OpenCV, without the GIL.

OpenCV decodes JPEG with libjpeg-turbo's defaults (accurate integer DCT, smooth chroma upsampling,
no colour management), bit for bit what Pillow returns.
"""

from __future__ import annotations

import os

import cv2
import numpy as np

from lineup.errors import ImageTooLargeError, UnreadableImageError
from lineup.imaging.header import Header
from lineup.imaging.raster import Raster
from lineup.types import AnyArray

_SILENT = 0


def _silence_opencv() -> None:
    """Keep OpenCV from writing to stderr, where progress is shown, unless the user asked for it."""
    if "OPENCV_LOG_LEVEL" in os.environ:
        return
    # OpenCV 5 moved the function.
    owner = cv2.utils.logging if hasattr(cv2.utils, "logging") else cv2
    owner.setLogLevel(_SILENT)


_silence_opencv()


def raster_from_opencv(header: Header) -> Raster:
    """Decode the first image of a file as it is stored.

    Raises:
        UnreadableImageError: OpenCV cannot decode it.
        ImageTooLargeError: Over a limit that the user set for OpenCV.
    """
    # UNCHANGED keeps 16 bits and alpha, and leaves the orientation to lineup.
    try:
        decoded = cv2.imdecode(np.frombuffer(header.stream, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        if "CV_IO_MAX_IMAGE" in str(error):
            raise ImageTooLargeError(
                f"{header.width_px:,} x {header.height_px:,} pixels are over the limit of OpenCV",
                hint="Raise or unset OPENCV_IO_MAX_IMAGE_PIXELS (and _WIDTH, _HEIGHT).",
            ) from None
        raise
    if decoded is None:
        raise UnreadableImageError(
            f"damaged {header.format.value.upper()}: its image data cannot be decoded",
            hint="Get a complete copy of the file, or save it again as PNG.",
        )
    if decoded.shape[:2] != (header.height_px, header.width_px):
        raise UnreadableImageError(
            f"damaged {header.format.value.upper()}: its header states {header.width_px} x "
            f"{header.height_px} pixels, its data hold {decoded.shape[1]} x {decoded.shape[0]}"
        )
    return Raster(
        pixels=_rgb_order(decoded, header.transparent_grey),
        bit_depth=header.bit_depth,
        frame_count=header.frame_count,
        orientation=header.orientation,
        notes=header.notes,
    )


def _rgb_order(pixels: AnyArray, transparent_grey: int | None) -> AnyArray:
    """Return OpenCV's grey, BGR or BGRA pixels as grey, RGB or RGBA."""
    if pixels.ndim == 3:
        order = cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
        return cv2.cvtColor(pixels, order)
    if transparent_grey is None:
        return pixels
    opaque = np.iinfo(pixels.dtype).max
    alpha = np.where(pixels == transparent_grey, 0, opaque).astype(pixels.dtype)
    return cv2.merge([pixels, pixels, pixels, alpha])
