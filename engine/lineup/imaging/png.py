"""Structure of PNG files (PNG specification, third edition), and their pixels.

Every chunk that carries pixels has its checksum verified here, and the file must be closed by its
IEND chunk. OpenCV's libpng prints what it finds wrong on stderr from C, and not every version of it
refuses it. So the image data are inflated here, where what is missing can be counted, and libpng
gets them stored: it undoes the filters. That takes no longer than libpng alone.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from lineup.errors import UnreadableImageError, UnsupportedImageError
from lineup.imaging.decoders import Raster, raster_from_opencv
from lineup.imaging.header import DecodeLimits, Header, ImageFormat, incomplete, trailing_note
from lineup.imaging.tiff import orientation_from_exif

_SIGNATURE_BYTES = 8
# Everything else only tempts decoders: OpenCV 5 shows the first animation frame in place of the
# image (acTL), libpng prints warnings about colour profiles (iCCP).
_PIXEL_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_GREY, _RGB, _PALETTE = 0, 2, 3
# Channels and bits per channel by colour type.
_LAYOUTS = {
    _GREY: (1, {1, 2, 4, 8, 16}),
    _RGB: (3, {8, 16}),
    _PALETTE: (1, {1, 2, 4, 8}),
    4: (2, {8, 16}),
    6: (4, {8, 16}),
}
# First column and row, and the steps to the next, of every pass over an interlaced image.
_WHOLE = ((0, 0, 1, 1),)
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_FILTERS = bytes(range(5))
_ZLIB_HEAD = b"\x78\x01"
_BLOCK_BYTES = 0xFFFF
_END = b"\0\0\0\0IEND\xaeB`\x82"


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
    for name, start, end in chunks(data):
        if not structure.header and name == b"CgBI":
            raise UnsupportedImageError(
                "the file holds a PNG as iPhone applications pack it (CgBI), which has no decoder",
                hint="Turn it back with Xcode's pngcrush -revert-iphone-optimizations.",
            )
        if bool(structure.header) is (name == b"IHDR"):
            raise UnreadableImageError("damaged PNG: the first chunk is not IHDR, or not the only")
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


def chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
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
    depth, colour_type, compression, filtering, interlacing = header[8:]
    if (
        depth not in _LAYOUTS.get(colour_type, (0, ()))[1]
        or (compression, filtering) != (0, 0)
        or interlacing > 1
    ):
        raise UnreadableImageError(f"damaged PNG: IHDR ends in {header[8:].hex(' ')}")


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


def raster_from_png(header: Header) -> Raster:
    """Decode a PNG file whose structure was read.

    Raises:
        UnreadableImageError: Image data are missing or damaged.
    """
    stream, notes = _stored(header.stream)
    return raster_from_opencv(replace(header, stream=stream, notes=header.notes + notes))


def _stored(data: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Return a PNG with checked image data that are not compressed, and remarks on them."""
    view = memoryview(data)
    kept: list[bytes | memoryview] = [view[:_SIGNATURE_BYTES]]
    compressed, head = [], b""
    for name, start, end in chunks(data):
        head = head or data[start:end]
        if name == b"IDAT":
            compressed.append(view[start:end])
        elif _is_used(name, head[9]):
            kept.append(view[start - 8 : end + 4])
    if head[9] == _PALETTE and not any(bytes(chunk[4:8]) == b"PLTE" for chunk in kept):
        raise UnreadableImageError("damaged PNG: its palette is missing")
    scanlines, notes = _scanlines(head, b"".join(compressed))
    image_data = _deflated_as_stored(scanlines)
    checksum, size = zlib.crc32(b"IDAT"), sum(map(len, image_data))
    for part in image_data:
        checksum = zlib.crc32(part, checksum)
    kept += [size.to_bytes(4, "big") + b"IDAT", *image_data, checksum.to_bytes(4, "big"), _END]
    return b"".join(kept), notes


def _deflated_as_stored(scanlines: bytes) -> list[bytes | memoryview]:
    """Return a zlib stream of stored blocks (RFC 1950, 1951), in parts that copy nothing."""
    view = memoryview(scanlines)
    parts: list[bytes | memoryview] = [_ZLIB_HEAD]
    for at in range(0, len(view), _BLOCK_BYTES):
        block = view[at : at + _BLOCK_BYTES]
        is_last = at + _BLOCK_BYTES >= len(view)
        parts += [struct.pack("<BHH", is_last, len(block), len(block) ^ 0xFFFF), block]
    return [*parts, zlib.adler32(scanlines).to_bytes(4, "big")]


def _is_used(name: bytes, colour_type: int) -> bool:
    """Whether a chunk decides pixels; the transparency of grey is in `Header.transparent_grey`."""
    if name == b"PLTE":
        return colour_type == _PALETTE  # else a suggestion for screens of 256 colours
    return name == b"IHDR" or (name == b"tRNS" and colour_type in (_RGB, _PALETTE))


def _scanlines(head: bytes, compressed: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Inflate image data: rows as they were filtered, with a note on what is too much.

    Raises:
        UnreadableImageError: Missing or damaged.
    """
    passes = _passes(head)
    expected_bytes = sum(rows * row_bytes for rows, row_bytes in passes)
    inflater = zlib.decompressobj()
    try:
        # One byte more, so that the checksum behind the last one is read, and surplus is seen.
        scanlines = inflater.decompress(compressed, expected_bytes + 1)
    except zlib.error as error:
        raise incomplete("damaged PNG", f"its image data cannot be inflated: {error}") from None
    has_surplus = len(scanlines) > expected_bytes or bool(inflater.unused_data)
    if len(scanlines) < expected_bytes or not (inflater.eof or has_surplus):
        share = len(scanlines) / expected_bytes
        raise incomplete("truncated PNG", f"its image data end after {share:.0%} of the picture")
    position = 0
    for rows, row_bytes in passes:
        end = position + rows * row_bytes
        if scanlines[position:end:row_bytes].translate(None, _FILTERS):
            raise incomplete("damaged PNG", "a row has a filter that does not exist")
        position = end
    notes = ("image data behind the picture ignored",) if has_surplus else ()
    return scanlines[:expected_bytes], notes


def _passes(head: bytes) -> list[tuple[int, int]]:
    """Return rows, and bytes of a row with its filter, of every pass."""
    width, height = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:8], "big")
    bits = _LAYOUTS[head[9]][0] * head[8]
    sizes = [
        (-((y - height) // down), -((x - width) // right))
        for x, y, right, down in (_ADAM7 if head[12] else _WHOLE)
    ]
    return [(rows, 1 + (columns * bits + 7) // 8) for rows, columns in sizes if rows and columns]
