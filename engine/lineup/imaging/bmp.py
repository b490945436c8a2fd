"""Structure of Windows bitmap files."""

from __future__ import annotations

import struct

from lineup.errors import UnreadableImageError
from lineup.imaging.header import DecodeLimits, Decoder, Header, ImageFormat, incomplete

_CORE_HEADER_BYTES = 12
_UNCOMPRESSED = 0
# What OpenCV gets right. At 16 bits it scales 31 to 248 in place of 255; with bit fields it takes
# the unused byte of a pixel for alpha; run-length data that end early it fills without an error.
_OPENCV_BITS = frozenset({1, 4, 8, 24, 32})


def header_from_bmp(data: bytes, limits: DecodeLimits) -> Header:
    """Read the structure of a BMP file.

    Raises:
        UnreadableImageError: Truncated or damaged.
        ImageTooLargeError: Over the limits.
    """
    try:
        pixels_offset, header_bytes = struct.unpack_from("<II", data, 10)
        if header_bytes == _CORE_HEADER_BYTES:
            width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
            compression = _UNCOMPRESSED
        else:
            width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    except struct.error:
        raise UnreadableImageError("truncated BMP: it ends inside its header") from None
    height = abs(height)  # negative: rows from top to bottom
    limits.check_pixels(width, height)
    is_plain = compression == _UNCOMPRESSED
    expected_bytes = pixels_offset + (width * bits + 31) // 32 * 4 * height
    if is_plain and len(data) < expected_bytes:
        raise incomplete("truncated BMP", f"{len(data):,} of {expected_bytes:,} bytes are there")
    return Header(
        format=ImageFormat.BMP,
        width_px=width,
        height_px=height,
        bit_depth=5 if bits == 16 else 8,
        stream=data,
        decoder=Decoder.OPENCV if is_plain and bits in _OPENCV_BITS else Decoder.PILLOW,
    )
