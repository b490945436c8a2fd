"""Limits that are checked before any pixel is allocated."""

from __future__ import annotations

from dataclasses import dataclass

from lineup.errors import ImageTooLargeError, UnreadableImageError

MAX_SIDE_PX = 1_000_000
"""Longest side that libpng takes (`PNG_USER_WIDTH_MAX`); OpenCV itself stops at 2**20."""


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """Guards against decompression bombs.

    Attributes:
        max_pixels: Largest width times height that is decoded. 150 million pixels take 450 MB as
            RGB, and the largest camera sensors on sale have about that many.
        max_bytes: Largest file that is read.
    """

    max_pixels: int = 150_000_000
    max_bytes: int = 512 * 2**20

    def check_pixels(self, width_px: int, height_px: int) -> None:
        """Refuse a size that a header states, before anything of that size is allocated.

        Raises:
            UnreadableImageError: A side is zero.
            ImageTooLargeError: The image is over `max_pixels`, or a side is over `MAX_SIDE_PX`.
        """
        if width_px < 1 or height_px < 1:
            raise UnreadableImageError(
                f"the header states {width_px} x {height_px} pixels; expected at least 1 x 1"
            )
        if width_px * height_px > self.max_pixels or max(width_px, height_px) > MAX_SIDE_PX:
            raise ImageTooLargeError(
                f"the header states {width_px:,} x {height_px:,} pixels; "
                f"the limit is {self.max_pixels:,} pixels and {MAX_SIDE_PX:,} a side",
                hint="Raise DecodeLimits.max_pixels if the file can be trusted.",
            )

    def check_bytes(self, size_bytes: int) -> None:
        """Refuse a file that is too large to read.

        Raises:
            ImageTooLargeError: The file is over `max_bytes`.
        """
        if size_bytes > self.max_bytes:
            raise ImageTooLargeError(
                f"the file has {size_bytes:,} bytes; the limit is {self.max_bytes:,}",
                hint="Raise DecodeLimits.max_bytes if the file can be trusted.",
            )


DEFAULT_LIMITS = DecodeLimits()
"""What is used when nothing is asked for."""
