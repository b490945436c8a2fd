"""How much memory an image will take, asked before it is decoded."""

from __future__ import annotations

from typing import NoReturn

from lineup.imaging.decode import DecodeLimits, image_from_bytes

BYTES_PER_PIXEL = 6
"""While decoding: what the decoder returns, and its copy as upright 8-bit RGB."""


def decoded_bytes(data: bytes, limits: DecodeLimits) -> int:
    """Return about how much memory decoding takes; 0 for what will not be decoded.

    Every decoder asks the limits before it allocates pixels. Here the limits take note of the size
    and stop the decoder at that point, so this costs no more than reading a header.
    """
    try:
        image_from_bytes(data, limits=_SizeProbe(limits.max_pixels, limits.max_bytes))
    except _SizeKnown as known:
        return known.pixels * BYTES_PER_PIXEL
    except Exception:  # decoding will say what is wrong
        return 0
    return 0


class _SizeKnown(BaseException):
    """Carries the size out of a decoder; no `Exception`, which decoders turn into image errors."""

    def __init__(self, pixels: int) -> None:
        self.pixels = pixels


class _SizeProbe(DecodeLimits):
    """Limits that let nothing be decoded."""

    __slots__ = ()

    def check_pixels(self, width_px: int, height_px: int) -> NoReturn:
        """Refuse as always; otherwise stop with the size."""
        super().check_pixels(width_px, height_px)
        raise _SizeKnown(width_px * height_px)
