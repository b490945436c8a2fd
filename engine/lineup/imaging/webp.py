"""Structure of WebP files (RFC 9649)."""

from __future__ import annotations

from collections.abc import Iterator

from lineup.errors import UnreadableImageError
from lineup.imaging.header import (
    DecodeLimits,
    Decoder,
    Header,
    ImageFormat,
    incomplete,
    trailing_note,
)
from lineup.imaging.tiff import orientation_from_exif

_LOSSY_START_CODE = b"\x9d\x01\x2a"
_LOSSLESS_SIGNATURE = 0x2F
# OpenCV refuses larger WebP files (OPENCV_IMGCODECS_WEBP_MAX_FILE_SIZE); Pillow does not.
_OPENCV_MAX_BYTES = 64 * 2**20


def header_from_webp(data: bytes, limits: DecodeLimits) -> Header:
    """Read the structure of a WebP file.

    Raises:
        UnreadableImageError: Truncated or damaged.
        ImageTooLargeError: Over the limits.
    """
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise incomplete("truncated WebP", f"{len(data):,} of {end:,} bytes are there")
    sizes: list[tuple[int, int]] = []
    frame_count, exif, last = 0, b"", end
    for name, start, stop in chunks(data, end):
        last = stop + stop % 2
        if stop > end:
            raise incomplete("damaged WebP", f"chunk {name!r} ends outside of it")
        size = _size_from_chunk(name, data[start : min(stop, start + 10)])
        if size is not None:
            limits.check_pixels(*size)
            sizes.append(size)
        frame_count += name == b"ANMF"
        if name == b"EXIF" and not exif:
            exif = data[start:stop]
    if not sizes:
        raise UnreadableImageError("damaged WebP: no chunk states the size of the image")
    is_animated = frame_count > 0
    # OpenCV before 4.11 refuses animated files.
    by_opencv = not is_animated and len(data) <= _OPENCV_MAX_BYTES
    notes = (f"first of {frame_count} frames",) if frame_count > 1 else ()
    return Header(
        format=ImageFormat.WEBP,
        width_px=sizes[0][0],
        height_px=sizes[0][1],
        bit_depth=8,
        stream=data,
        decoder=Decoder.OPENCV if by_opencv else Decoder.PILLOW,
        orientation=orientation_from_exif(exif),
        notes=notes + trailing_note(max(0, len(data) - last)),
    )


def chunks(data: bytes, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of the payload of every chunk."""
    position = 12
    while position + 8 <= end:
        start = position + 8
        stop = start + int.from_bytes(data[position + 4 : start], "little")
        yield data[position : position + 4], start, stop
        position = stop + stop % 2


def _size_from_chunk(name: bytes, head: bytes) -> tuple[int, int] | None:
    """Return width and height that a chunk states, None for chunks that state none.

    The canvas (VP8X) and the bitstream are both read, because decoders allocate by either.
    """
    if len(head) < 5:
        return None
    if name == b"VP8X" and len(head) == 10:
        width = int.from_bytes(head[4:7], "little") + 1
        return width, int.from_bytes(head[7:10], "little") + 1
    if name == b"VP8L" and head[0] == _LOSSLESS_SIGNATURE:
        bits = int.from_bytes(head[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if name == b"VP8 " and head[3:6] == _LOSSY_START_CODE and len(head) == 10:
        width = int.from_bytes(head[6:8], "little") & 0x3FFF
        return width, int.from_bytes(head[8:10], "little") & 0x3FFF
    return None
