"""What the structure of a file says before any pixel is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from lineup.imaging.formats import ImageFormat


class Decoder(str, Enum):
    """Library that decodes the pixels."""

    OPENCV = "opencv"
    PILLOW = "pillow"


@dataclass(frozen=True, slots=True)
class Header:
    """What the structure of a file says, and how its pixels are to be decoded.

    Attributes:
        format: Format of the file.
        width_px: Width as stored, before the orientation is applied.
        height_px: Height as stored.
        bit_depth: Bits per channel.
        stream: What the decoder is fed: the file, without parts that would make a decoder print,
            rotate or animate.
        decoder: Library that gets this kind of file right.
        frame_count: Frames or pages in the file.
        orientation: EXIF orientation, 1..8.
        transparent_grey: Grey level that means "transparent" at 8 or 16 bits, or None.
        notes: Remarks for the user.
    """

    format: ImageFormat
    width_px: int
    height_px: int
    bit_depth: int
    stream: bytes
    decoder: Decoder = Decoder.OPENCV
    frame_count: int = 1
    orientation: int = 1
    transparent_grey: int | None = None
    notes: tuple[str, ...] = ()


def trailing_note(extra_bytes: int) -> tuple[str, ...]:
    """Return the note about bytes that follow the image.

    They are common and harmless (second picture or video of a phone, padding), and of interest to
    whoever examines the file.
    """
    return (f"{extra_bytes:,} bytes after the end of the image ignored",) if extra_bytes else ()
