"""JPEG pixels, with what libjpeg-turbo warns of.

libjpeg fills what is missing and goes on, with a warning. OpenCV lets it print that from C, Pillow
drops it; the interface of TurboJPEG returns it. Pixels are bit for bit the same in all three:
accurate integer DCT, smooth chroma upsampling, no colour management.
"""

from __future__ import annotations

import numpy as np
import simplejpeg
from PIL import Image

from lineup.types import AnyArray

_COLOURS = {"Gray": "GRAY", "CMYK": "CMYK", "YCCK": "CMYK"}


def pixels_from_jpeg(stream: bytes) -> tuple[AnyArray, str | None]:
    """Decode a JPEG file.

    Returns:
        Grey of shape (height, width), RGB of shape (height, width, 3) or CMYK as Adobe stores it
        (255 is no ink) of shape (height, width, 4), uint8; and the decoder's first warning or None.

    Raises:
        ValueError: It cannot be decoded; the message is the decoder's.
    """
    try:
        return _decoded(stream, strict=True), None
    except ValueError as error:
        return filled_from_jpeg(stream), str(error)


def filled_from_jpeg(stream: bytes) -> AnyArray:
    """Decode a JPEG file as `pixels_from_jpeg` does, whatever the decoder warns of."""
    return _decoded(stream, strict=False)


def _decoded(stream: bytes, *, strict: bool) -> AnyArray:
    *_, colours, _ = simplejpeg.decode_jpeg_header(stream)
    wanted = _COLOURS.get(colours, "RGB")
    pixels: AnyArray = simplejpeg.decode_jpeg(stream, wanted, strict=strict)
    return pixels[..., 0] if wanted == "GRAY" else pixels


def rgb_from_cmyk(pixels: AnyArray) -> AnyArray:
    """Convert CMYK as Adobe stores it to RGB without the profile, as Pillow and browsers do."""
    height, width = pixels.shape[:2]
    image = Image.frombuffer("CMYK", (width, height), pixels.tobytes(), "raw", "CMYK;I", 0, 1)
    return np.array(image.convert("RGB"))
