"""Structure of JPEG files (ITU-T T.81, annex B).

Decoders fill what is missing from a truncated JPEG with grey or with zeros and report success, so
completeness is decided here, from the markers:

- The end marker closes the file. Whatever follows it is ignored and noted.
- Without the end marker the file is truncated, with one exception, which some cameras and tools
  write: a single complete scan. It is accepted, and noted, when no continuation of the data could
  change any pixel.
- A marker that cannot occur inside image data means that the data are damaged.

JPEG has no checksum: damage that makes no such marker cannot be told from a picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from lineup.errors import UnreadableImageError, UnsupportedImageError
from lineup.imaging.decoders import rgb_from_jpeg
from lineup.imaging.header import (
    DecodeLimits,
    Decoder,
    Header,
    ImageFormat,
    incomplete,
    trailing_note,
)
from lineup.imaging.tiff import orientation_from_exif

# A marker that is neither stuffing (00), fill (FF), TEM (01), nor restart (D0-D7), so that one
# search skips the coded data of a scan.
_MARKER = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")

_EOI, _SOS, _APP1 = 0xD9, 0xDA, 0xE1
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
# DHT, DAC, SOS, DQT, DNL, DRI, EXP, APP0-APP15, COM.
_SEGMENTS = frozenset({0xC4, 0xCC, _SOS, 0xDB, 0xDC, 0xDD, 0xDF, 0xFE, *range(0xE0, 0xF0)})
_KNOWN = _SEGMENTS | _FRAMES | {_EOI}
_CMYK_CHANNELS = 4


@dataclass(slots=True)
class _Structure:
    """What the walk over the markers found."""

    frame_marker: int = 0
    bit_depth: int = 0
    width_px: int = 0
    height_px: int = 0
    channels: int = 0
    scan_channels: list[int] = field(default_factory=list)
    orientation: int = 1
    end: int | None = None

    @property
    def is_single_scan(self) -> bool:
        """One scan holds the whole picture."""
        is_progressive = self.frame_marker in _PROGRESSIVE
        return not is_progressive and self.scan_channels == [self.channels]


def header_from_jpeg(data: bytes, limits: DecodeLimits) -> Header:
    """Read the structure of a JPEG file.

    Raises:
        UnreadableImageError: Truncated or damaged.
        UnsupportedImageError: A kind of JPEG without a decoder.
        ImageTooLargeError: Over the limits.
    """
    structure = _structure_from_jpeg(data, limits)
    stream, notes = data, trailing_note(len(data) - (structure.end or len(data)))
    if structure.end is None:
        stream = _closed(data, structure)
        notes = ("end marker missing, image data complete",)
    # OpenCV converts CMYK and YCCK with rounding of its own, up to 2 levels off Pillow's.
    decoder = Decoder.PILLOW if structure.channels == _CMYK_CHANNELS else Decoder.OPENCV
    return Header(
        format=ImageFormat.JPEG,
        width_px=structure.width_px,
        height_px=structure.height_px,
        bit_depth=structure.bit_depth,
        stream=stream,
        decoder=decoder,
        orientation=structure.orientation,
        notes=notes,
    )


def _structure_from_jpeg(data: bytes, limits: DecodeLimits) -> _Structure:
    structure = _Structure()
    exif: bytes | None = None
    for marker, start, end in _markers(data):
        if marker == _EOI:
            structure.end = end
        elif marker in _FRAMES and not structure.frame_marker:
            _read_frame(structure, marker, data[start:end])
            limits.check_pixels(structure.width_px, structure.height_px)
        elif marker == _SOS:
            structure.scan_channels.append(data[start] if start < end else 0)
        elif marker == _APP1 and exif is None and data.startswith(b"Exif\x00\x00", start, end):
            exif = data[start:end]
        elif marker not in _SEGMENTS:
            raise _damaged(marker, start - 4)
    if not structure.frame_marker:
        raise incomplete("truncated JPEG", "it ends before its frame header")
    if not structure.scan_channels:
        raise incomplete("truncated JPEG", "it ends before its image data")
    structure.orientation = orientation_from_exif(exif) if exif else 1
    return structure


def _markers(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of its payload, up to and including the end marker."""
    position = 2
    while found := _MARKER.search(data, position):
        marker = data[found.start() + 1]
        start = end = found.end()
        if marker not in _KNOWN:
            raise _damaged(marker, found.start())
        if marker != _EOI:
            end = start + int.from_bytes(data[start : start + 2], "big")
            start += 2
            if end > len(data) or end < start:
                raise incomplete("truncated JPEG", f"segment 0x{marker:02x} ends outside of it")
        yield marker, start, end
        if marker == _EOI:
            return
        position = end


def _read_frame(structure: _Structure, marker: int, payload: bytes) -> None:
    if len(payload) < 6:
        raise UnreadableImageError("damaged JPEG: the frame header is too short")
    structure.frame_marker = marker
    structure.bit_depth = payload[0]
    structure.height_px = int.from_bytes(payload[1:3], "big")
    structure.width_px = int.from_bytes(payload[3:5], "big")
    structure.channels = payload[5]
    if structure.bit_depth != 8 or structure.channels not in (1, 3, _CMYK_CHANNELS):
        raise UnsupportedImageError(
            f"a JPEG of {structure.bit_depth} bits and {structure.channels} channels has no "
            "decoder; expected 8 bits and 1, 3 or 4 channels"
        )


def _closed(data: bytes, structure: _Structure) -> bytes:
    """Return a JPEG without end marker as one with it.

    The data are complete exactly when what would follow cannot change a pixel: libjpeg reads zero
    bits at an end marker, so closing the file at once and closing it after other bits differ in the
    first missing block.

    Raises:
        UnreadableImageError: Image data are missing.
    """
    # Several scans: all of the last ones may be missing, and nothing in the data would show it.
    if structure.is_single_scan:
        body = data.rstrip(b"\xff")
        closed = body + b"\xff\xd9"
        continued = body + b"\xaa" * 64 + b"\xff\xd9"
        try:
            is_complete = (rgb_from_jpeg(closed) == rgb_from_jpeg(continued)).all()
        except (OSError, SyntaxError, ValueError):
            is_complete = False
        if is_complete:
            return closed
    raise incomplete("truncated JPEG", "it ends inside its image data")


def _damaged(marker: int, position: int) -> UnreadableImageError:
    return UnreadableImageError(
        f"damaged JPEG: marker 0x{marker:02x} where it cannot occur, at byte {position}"
    )
