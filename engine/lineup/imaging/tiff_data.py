"""Image data of TIFF files: whether they are there, and their pixels.

Decoders fill with zeros what is missing or broken and report success, so every strip and tile is
checked before they are asked, and again by what its compression has for a check.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

from lineup.errors import UnreadableImageError
from lineup.imaging.decoders import Raster, raster_from_opencv, raster_from_pillow
from lineup.imaging.header import DecodeLimits, Decoder, Header, incomplete
from lineup.imaging.tiff import (
    BITS,
    CHUNKY,
    COMPRESSION,
    DEFLATE,
    HEIGHT,
    JPEG,
    JPEG_TABLES,
    PACK_BITS,
    PLANAR,
    ROWS_PER_STRIP,
    SAMPLES,
    STRIPS,
    TILE_HEIGHT,
    TILE_WIDTH,
    TILES,
    UNCOMPRESSED,
    WANTED,
    WIDTH,
    Tag,
    first_value,
    layout_from_bytes,
    tags_from_directory,
)
from lineup.imaging.turbojpeg import pixels_from_jpeg


@dataclass(frozen=True, slots=True)
class _Piece:
    """A strip or tile: where it lies in the file, and how many bytes it holds when unpacked."""

    offset: int
    size_bytes: int
    unpacked_bytes: int


def raster_from_tiff(header: Header, limits: DecodeLimits) -> Raster:
    """Decode the first page of a TIFF file whose structure was read.

    Raises:
        UnreadableImageError: Image data are missing or damaged.
        ImageTooLargeError: With what sticks out of the image, its tiles are over the limits.
    """
    layout = layout_from_bytes(header.stream)
    tags, _ = tags_from_directory(header.stream, layout, layout.first_offset, WANTED)
    pieces = _pieces(header.stream, tags, limits)
    for piece in pieces:
        data = header.stream[piece.offset : piece.offset + piece.size_bytes]
        fault = _fault(data, piece.unpacked_bytes, tags)
        if fault:
            raise incomplete("damaged TIFF", f"strip or tile at byte {piece.offset:,}: {fault}")
    repeated = len(pieces) - len({piece.offset for piece in pieces})
    if repeated:
        note = f"{repeated} of {len(pieces)} strips or tiles repeat others"
        header = replace(header, notes=(*header.notes, note))
    if header.decoder is Decoder.OPENCV:
        return raster_from_opencv(header)
    return raster_from_pillow(header, limits)


def _pieces(data: bytes, tags: dict[int, Tag], limits: DecodeLimits) -> list[_Piece]:
    """Return all strips or tiles of a page.

    Raises:
        UnreadableImageError: They are too few, too many, too short or outside of the file.
        ImageTooLargeError: See `raster_from_tiff`.
    """
    is_tiled = TILE_WIDTH in tags or TILES[0] in tags
    width, height = first_value(tags, WIDTH, 0), first_value(tags, HEIGHT, 0)
    if is_tiled:
        columns, rows = first_value(tags, TILE_WIDTH, 0), first_value(tags, TILE_HEIGHT, 0)
    else:
        columns, rows = width, min(first_value(tags, ROWS_PER_STRIP, height), height)
    limits.check_pixels(columns, rows)
    across, down = -(-width // columns), -(-height // rows)
    if is_tiled:
        limits.check_pixels(across * columns, down * rows)
        if STRIPS[0] in tags:
            raise UnreadableImageError("damaged TIFF: it has both strips and tiles")
    samples = first_value(tags, SAMPLES, 1)
    planes = 1 if first_value(tags, PLANAR, CHUNKY) == CHUNKY else samples
    row_bytes = (columns * (samples // planes) * first_value(tags, BITS, 1) + 7) // 8
    offsets, sizes = (
        tags[number].values if number in tags else () for number in (TILES if is_tiled else STRIPS)
    )
    count = across * down * planes
    if not len(offsets) == len(sizes) == count:
        raise incomplete(
            "damaged TIFF",
            f"{len(offsets)} offsets and {len(sizes)} sizes for {count} strips or tiles",
        )
    pieces = [
        _Piece(
            offset, size, row_bytes * (rows if is_tiled else min(rows, height - i % down * rows))
        )
        for i, (offset, size) in enumerate(zip(offsets, sizes, strict=True))
    ]
    is_plain = first_value(tags, COMPRESSION, UNCOMPRESSED) == UNCOMPRESSED
    there = sum(
        piece.offset > 0 < piece.size_bytes <= len(data) - piece.offset
        and not (is_plain and piece.size_bytes < piece.unpacked_bytes)
        for piece in pieces
    )
    if there < count:
        raise incomplete(
            "truncated or damaged TIFF",
            f"{there} of {count} strips or tiles are there in full ({there / count:.0%})",
        )
    return pieces


def _fault(data: bytes, unpacked_bytes: int, tags: dict[int, Tag]) -> str | None:
    """Return what is wrong with a strip or tile that a decoder may pass over."""
    compression = first_value(tags, COMPRESSION, UNCOMPRESSED)
    if compression in DEFLATE:
        inflater = zlib.decompressobj()
        try:
            found = len(inflater.decompress(data, unpacked_bytes + 1))
        except zlib.error as error:
            return str(error)
        return None if found == unpacked_bytes and inflater.eof else _wrong(found, unpacked_bytes)
    if compression == PACK_BITS:
        found = _unpacked_bytes(data)
        return None if found == unpacked_bytes else _wrong(found, unpacked_bytes)
    if compression == JPEG:
        tables = bytes(tags[JPEG_TABLES].values) if JPEG_TABLES in tags else b""
        try:
            # Tables are a JPEG of their own; a decoder stops at its first end.
            stream = tables.partition(b"\xff\xd9")[0] + data[2:] if tables else data
            return pixels_from_jpeg(stream)[1]
        except ValueError as error:
            return str(error)
    return None


def _wrong(found: int, expected: int) -> str:
    return f"it unpacks to {found:,} bytes of {expected:,}"


def _unpacked_bytes(data: bytes) -> int:
    """Return how many bytes PackBits data stand for (TIFF 6.0, section 9)."""
    position = unpacked = 0
    while position < len(data):
        code = data[position]
        if code < 128:
            unpacked += min(code + 1, len(data) - position - 1)
            position += code + 2
        else:
            unpacked += 257 - code if code > 128 else 0
            position += 2 if code > 128 else 1
    return unpacked
