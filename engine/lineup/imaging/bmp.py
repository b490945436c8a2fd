"""Structure of Windows and OS/2 bitmap files."""

from __future__ import annotations

import struct

from lineup.errors import UnreadableImageError, UnsupportedImageError
from lineup.imaging.header import DecodeLimits, Decoder, Header, ImageFormat, incomplete

_CORE_HEADER_BYTES, _OS2_HEADER_BYTES = 12, 64
_HEADER_BYTES = frozenset({_CORE_HEADER_BYTES, 40, 52, 56, _OS2_HEADER_BYTES, 108, 124})
# Bits per pixel by compression: none, runs of 8 and of 4 bits, bit fields.
_DEPTHS = {0: frozenset({1, 4, 8, 16, 24, 32}), 1: {8}, 2: {4}, 3: {16, 32}}
_UNCOMPRESSED, _BIT_FIELDS = 0, 3


def header_from_bmp(data: bytes, limits: DecodeLimits) -> Header:
    """Read the structure of a BMP file.

    Raises:
        UnreadableImageError: Truncated or damaged.
        UnsupportedImageError: A header or compression without a decoder.
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
    # In a header of OS/2, 3 is fax code.
    is_fax = header_bytes == _OS2_HEADER_BYTES and compression == _BIT_FIELDS
    if header_bytes not in _HEADER_BYTES or is_fax or bits not in _DEPTHS.get(compression, ()):
        raise UnsupportedImageError(
            f"a BMP with a header of {header_bytes} bytes, {bits} bits a pixel and compression "
            f"{compression} has no decoder",
            hint="Save it as a plain BMP or as PNG.",
        )
    height = abs(height)  # negative: rows from top to bottom
    limits.check_pixels(width, height)
    if pixels_offset < 14 + header_bytes:
        raise UnreadableImageError("damaged BMP: its pixels begin inside its header")
    expected_bytes = pixels_offset + (width * bits + 31) // 32 * 4 * height
    if compression in (_UNCOMPRESSED, _BIT_FIELDS) and len(data) < expected_bytes:
        raise incomplete("truncated BMP", f"{len(data):,} of {expected_bytes:,} bytes are there")
    return Header(
        format=ImageFormat.BMP,
        width_px=width,
        height_px=height,
        bit_depth=5 if bits == 16 else 8,
        stream=data,
        # OpenCV takes palettes and colours behind a header of OS/2 for grey, scales 31 to 248 in
        # place of 255, takes unused bytes for alpha, and fills run lengths that end early.
        decoder=Decoder.PILLOW,
    )
