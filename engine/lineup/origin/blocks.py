"""Where each format keeps what a file says of itself: found by a walk that decodes nothing.

A damaged file gives what stands before the damage: what it declares never costs the image.
"""

from __future__ import annotations

import contextlib
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from lineup.errors import ImageError
from lineup.imaging import jpeg, png, webp
from lineup.imaging.header import ImageFormat, format_from_bytes
from lineup.imaging.tiff import layout_from_bytes, tags_from_directory

MOST_BLOCK_BYTES = 2**20
"""Of one text, EXIF or XMP block, after decompression. Workflows of ComfyUI can be hundreds of kB;
what is longer is cut."""

MOST_TEXTS = 24

_JPEG_SCAN, _JPEG_APP1, _JPEG_APP11 = 0xDA, 0xE1, 0xEB
_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\x00"
_PNG_XMP = "XML:com.adobe.xmp"
_TIFF_XMP, _TIFF_C2PA = 700, 52545
# Bytes as one value: of types BYTE, ASCII and UNDEFINED.
_BYTES_CODES = {1: "s", 2: "s", 7: "s"}
# C2PA 2.2, appendix A.5: the uuid box of ISO media files.
_ISO_C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_EXIF = re.compile(rb"Exif\x00\x00(?:II\*\x00|MM\x00\*)")
_GIF_C2PA = b"\x21\xff\x0bC2PA_GIF"


@dataclass(slots=True)
class Blocks:
    """What a file carries beside its pixels.

    Attributes:
        format: Of the file.
        texts: PNG texts by keyword, the first of each.
        exif: The TIFF structure of an EXIF block; empty where there is none.
        xmp: An XMP packet; empty where there is none.
        has_c2pa: Whether there is a C2PA manifest.
    """

    format: ImageFormat
    texts: dict[str, str] = field(default_factory=dict)
    exif: bytes = b""
    xmp: bytes = b""
    has_c2pa: bool = False


def blocks_from_bytes(data: bytes) -> Blocks:
    """Find the blocks of a file.

    Raises:
        ImageError: It is no image of a known format.
    """
    blocks = Blocks(format_from_bytes(data))
    find = _FINDERS.get(blocks.format)
    if find is not None:
        with contextlib.suppress(ImageError, struct.error, KeyError, OverflowError):
            find(blocks, data)
    blocks.exif = blocks.exif.removeprefix(b"Exif\x00\x00")
    blocks.xmp = blocks.xmp[:MOST_BLOCK_BYTES]
    return blocks


def _find_in_jpeg(blocks: Blocks, data: bytes) -> None:
    for marker, _, start, end in jpeg.markers(data):
        if marker == _JPEG_SCAN:
            return
        if marker == _JPEG_APP11 and data[start : start + 2] == b"JP":  # JUMBF, ISO 19566-5
            blocks.has_c2pa = True
        elif marker == _JPEG_APP1 and data.startswith(_JPEG_XMP, start, end):
            blocks.xmp = blocks.xmp or data[start + len(_JPEG_XMP) : end]
        elif marker == _JPEG_APP1 and data.startswith(b"Exif\x00\x00", start, end):
            blocks.exif = blocks.exif or data[start:end]


def _find_in_png(blocks: Blocks, data: bytes) -> None:
    for name, start, end in png.chunks(data):
        if name == b"caBX":
            blocks.has_c2pa = True
        elif name == b"eXIf":
            blocks.exif = data[start : min(end, start + MOST_BLOCK_BYTES)]
        elif name in _PNG_TEXTS and len(blocks.texts) < MOST_TEXTS:
            chunk = data[start : min(end, start + MOST_BLOCK_BYTES)]
            keyword, _, rest = chunk.partition(b"\x00")
            blocks.texts.setdefault(keyword[:79].decode("latin-1"), _PNG_TEXTS[name](rest))
    # Raw, not as the text that it was read as: XML has an encoding of its own.
    blocks.xmp = blocks.texts.pop(_PNG_XMP, "").encode("utf-8", "replace")


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, MOST_BLOCK_BYTES)
    except zlib.error:
        return b""


def _text_from_ztxt(rest: bytes) -> str:
    return _inflated(rest[1:]).decode("latin-1")


def _text_from_itxt(rest: bytes) -> str:
    language_on = rest[2:].split(b"\x00", 2)
    text = language_on[2] if len(language_on) == 3 else b""
    plain = _inflated(text) if rest[:1] == b"\x01" else text
    return plain.decode("utf-8", "replace")


def _text_from_text(rest: bytes) -> str:
    # The specification says Latin-1; most generators write UTF-8 all the same.
    try:
        return rest.decode("utf-8")
    except UnicodeDecodeError:
        return rest.decode("latin-1")


_PNG_TEXTS = {b"tEXt": _text_from_text, b"zTXt": _text_from_ztxt, b"iTXt": _text_from_itxt}


def _find_in_webp(blocks: Blocks, data: bytes) -> None:
    for name, start, end in webp.chunks(data, len(data)):
        if name == b"C2PA":
            blocks.has_c2pa = True
        elif name == b"EXIF":
            blocks.exif = data[start : min(end, start + MOST_BLOCK_BYTES)]
        elif name == b"XMP ":
            blocks.xmp = data[start:end]


def _find_in_tiff(blocks: Blocks, data: bytes) -> None:
    layout = layout_from_bytes(data)
    blocks.exif = data  # a TIFF file is the structure that EXIF took over
    wanted = frozenset({_TIFF_XMP, _TIFF_C2PA})
    tags, _ = tags_from_directory(data, layout, layout.first_offset, wanted, _BYTES_CODES)
    blocks.has_c2pa = _TIFF_C2PA in tags
    if _TIFF_XMP in tags:
        blocks.xmp = bytes(tags[_TIFF_XMP].values[0])


def _find_in_iso(blocks: Blocks, data: bytes) -> None:
    """Search HEIC and AVIF: for boxes at the top, and for the packets inside of others.

    Their items lie anywhere in the file; XMP is made to be found by its packet's beginning.
    """
    for name, start in _boxes(data):
        if name == b"uuid" and data[start : start + 16] == _ISO_C2PA:
            blocks.has_c2pa = True
    exif = _EXIF.search(data)
    if exif is not None:
        blocks.exif = data[exif.start() : exif.start() + MOST_BLOCK_BYTES]
    blocks.xmp = _packet(data)


def _boxes(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield name and start of the payload of every box at the top."""
    position = 0
    while position + 8 <= len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        start = position + 8
        if size == 1:
            size, start = int.from_bytes(data[start : start + 8], "big"), start + 8
        end = position + size if size else len(data)
        yield data[position + 4 : position + 8], start
        position = max(end, start)


def _find_in_gif(blocks: Blocks, data: bytes) -> None:
    blocks.has_c2pa = _GIF_C2PA in data
    blocks.xmp = _packet(data)


def _packet(data: bytes) -> bytes:
    start = data.find(b"<x:xmpmeta")
    end = data.find(b"</x:xmpmeta>", start, start + MOST_BLOCK_BYTES) if start >= 0 else -1
    return data[start : end + len(b"</x:xmpmeta>")] if end >= 0 else b""


_FINDERS: Mapping[ImageFormat, Callable[[Blocks, bytes], None]] = {
    ImageFormat.JPEG: _find_in_jpeg,
    ImageFormat.PNG: _find_in_png,
    ImageFormat.WEBP: _find_in_webp,
    ImageFormat.TIFF: _find_in_tiff,
    ImageFormat.HEIC: _find_in_iso,
    ImageFormat.AVIF: _find_in_iso,
    ImageFormat.GIF: _find_in_gif,
}
"""BMP has no place for any of it."""
