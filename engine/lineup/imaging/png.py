"""Structure of PNG files (PNG specification, third edition).

Every chunk that carries pixels has its checksum verified here, and the file must be closed by its
IEND chunk. OpenCV detects the same faults, but libpng prints them on stderr from C.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from lineup.errors import UnreadableImageError
from lineup.imaging.header import DecodeLimits, Header, ImageFormat, incomplete, trailing_note
from lineup.imaging.tiff import orientation_from_exif

_SIGNATURE_BYTES = 8
# Everything else only tempts decoders: OpenCV 5 shows the first animation frame in place of the
# image (acTL), libpng prints warnings about colour profiles (iCCP).
_PIXEL_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_GREY = 0


@dataclass(slots=True)
class _Structure:
    """What the walk over the chunks found."""

    pieces: list[memoryview] = field(default_factory=list)
    header: bytes = b""
    transparency: bytes = b""
    exif: bytes = b""
    has_image_data: bool = False
    frame_count: int = 1
    is_first_frame: bool = False
    end: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """Which picture of an animation the image is."""
        if self.frame_count == 1:
            return ()
        which = "first" if self.is_first_frame else "still image beside an animation"
        return (f"{which} of {self.frame_count} frames",)


def header_from_png(data: bytes, limits: DecodeLimits) -> Header:
    """Read the structure of a PNG file.

    Raises:
        UnreadableImageError: Truncated or damaged.
        ImageTooLargeError: Over the limits.
    """
    view = memoryview(data)
    structure = _Structure(pieces=[view[:_SIGNATURE_BYTES]])
    for name, start, end in _chunks(data):
        if not structure.header and name != b"IHDR":
            raise UnreadableImageError("damaged PNG: the first chunk is not IHDR")
        if name == b"IHDR":
            structure.header = data[start:end]
            _check_header(structure.header, limits)
        if name in _PIXEL_CHUNKS:
            _check_checksum(view, name, start, end)
            structure.pieces.append(view[start - 8 : end + 4])
        _note_chunk(structure, name, data, start, end)
    if not structure.end:
        raise incomplete("truncated PNG", "its end chunk is missing")
    return _header_from_structure(data, structure)


def _header_from_structure(data: bytes, structure: _Structure) -> Header:
    bit_depth, colour_type = structure.header[8], structure.header[9]
    has_only_pixels = sum(map(len, structure.pieces)) == len(data)
    transparent_grey = None
    if colour_type == _GREY and len(structure.transparency) == 2:
        # OpenCV expands 1, 2 and 4 bits to 8, and drops the transparency of grey files.
        scale = 255 // ((1 << bit_depth) - 1) if bit_depth < 8 else 1
        transparent_grey = int.from_bytes(structure.transparency, "big") * scale
    return Header(
        format=ImageFormat.PNG,
        width_px=int.from_bytes(structure.header[:4], "big"),
        height_px=int.from_bytes(structure.header[4:8], "big"),
        bit_depth=bit_depth,
        stream=data if has_only_pixels else b"".join(structure.pieces),
        orientation=orientation_from_exif(structure.exif),
        transparent_grey=transparent_grey,
        notes=structure.notes + trailing_note(len(data) - structure.end),
    )


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of the payload of every chunk, up to and including IEND."""
    position = _SIGNATURE_BYTES
    while position < len(data):
        start = position + 8
        end = start + int.from_bytes(data[position : position + 4], "big")
        if end + 4 > len(data):
            raise incomplete(
                "truncated PNG", f"chunk {data[position + 4 : start]!r} ends outside of it"
            )
        name = data[position + 4 : start]
        yield name, start, end
        if name == b"IEND":
            return
        position = end + 4


def _check_header(header: bytes, limits: DecodeLimits) -> None:
    if len(header) != 13:
        raise UnreadableImageError(f"damaged PNG: IHDR has {len(header)} bytes, expected 13")
    limits.check_pixels(int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big"))


def _check_checksum(view: memoryview, name: bytes, start: int, end: int) -> None:
    if zlib.crc32(view[start - 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
        reason = f"the checksum of chunk {name.decode()} at byte {start - 8} is wrong"
        raise incomplete("damaged PNG", reason)


def _note_chunk(structure: _Structure, name: bytes, data: bytes, start: int, end: int) -> None:
    if name == b"IDAT":
        structure.has_image_data = True
    elif name == b"IEND":
        structure.end = end + 4
    elif name == b"tRNS":
        structure.transparency = data[start:end]
    elif name == b"eXIf":
        structure.exif = data[start:end]
    elif name == b"acTL" and not structure.has_image_data:
        structure.frame_count = max(1, int.from_bytes(data[start : start + 4], "big"))
    elif name == b"fcTL" and not structure.has_image_data:
        structure.is_first_frame = True
