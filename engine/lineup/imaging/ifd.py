"""Read the tag directories (image file directories, IFD) that TIFF files and EXIF blocks share."""

from __future__ import annotations

import struct
from dataclasses import dataclass

ORIENTATION = 274

_HEADERS = {b"II*\x00": ("<", False), b"MM\x00*": (">", False)}
_BIG_HEADERS = {b"II+\x00": ("<", True), b"MM\x00+": (">", True)}
_EXIF_PREFIX = b"Exif\x00\x00"
# Integer types of TIFF 6.0 and BigTIFF: BYTE, SHORT, LONG, IFD, LONG8, IFD8.
_TYPE_CODES = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
# Strips or tiles of one page; more would be a way to fill the memory with numbers.
_MAX_VALUES = 1_000_000


@dataclass(frozen=True, slots=True)
class Tag:
    """One integer tag: its values, and where in the file they lie."""

    values: tuple[int, ...]
    offset: int
    type_code: str


@dataclass(frozen=True, slots=True)
class Layout:
    """Byte order ("<" or ">"), 64-bit offsets or not, and the offset of the first directory."""

    order: str
    is_big: bool
    first_offset: int

    @property
    def offset_code(self) -> str:
        """Struct code of an offset inside the file."""
        return "Q" if self.is_big else "I"

    def unpack(self, codes: str, data: bytes, offset: int) -> tuple[int, ...]:
        """Unpack integers; raises struct.error past the end of `data`."""
        return struct.unpack_from(self.order + codes, data, offset)


def layout_from_bytes(data: bytes) -> Layout:
    """Read the file header of a TIFF or EXIF block.

    Raises:
        struct.error: `data` is too short.
        KeyError: `data` does not start like a TIFF file.
    """
    order, is_big = {**_HEADERS, **_BIG_HEADERS}[data[:4]]
    layout = Layout(order, is_big, 0)
    (first,) = layout.unpack("Q", data, 8) if is_big else layout.unpack("I", data, 4)
    return Layout(order, is_big, first)


def tags_from_directory(
    data: bytes, layout: Layout, offset: int, wanted: frozenset[int]
) -> tuple[dict[int, Tag], int]:
    """Read the integer tags of one directory.

    Args:
        data: The whole TIFF file or EXIF block.
        layout: Its byte order and offset size.
        offset: Where the directory lies.
        wanted: Numbers of the tags to read.

    Returns:
        Tags by number, and the offset of the next directory (0: none).

    Raises:
        struct.error: The directory or a value lies outside of `data`.
    """
    count_code, entry_codes, inline_bytes = ("Q", "HHQ", 8) if layout.is_big else ("H", "HHI", 4)
    (count,) = layout.unpack(count_code, data, offset)
    position = offset + struct.calcsize("=" + count_code)
    head_bytes = struct.calcsize("=" + entry_codes)
    tags: dict[int, Tag] = {}
    for _ in range(count):
        number, value_type, length = layout.unpack(entry_codes, data, position)
        if number in wanted and value_type in _TYPE_CODES:
            at = position + head_bytes
            tags.setdefault(number, _tag(data, layout, at, _TYPE_CODES[value_type], length))
        position += head_bytes + inline_bytes
    (following,) = layout.unpack(layout.offset_code, data, position)
    return tags, following


def _tag(data: bytes, layout: Layout, at: int, type_code: str, length: int) -> Tag:
    """Read the values of a tag, which lie at `at` when they fit there and else where it points."""
    if length > _MAX_VALUES:
        raise struct.error(f"a tag states {length} values")
    size_bytes = length * struct.calcsize("=" + type_code)
    if size_bytes > struct.calcsize("=" + layout.offset_code):
        (at,) = layout.unpack(layout.offset_code, data, at)
    return Tag(layout.unpack(f"{length}{type_code}", data, at), at, type_code)


def orientation_from_exif(block: bytes) -> int:
    """Return the orientation that an EXIF block states, 1..8; 1 when it states none.

    A damaged block means "not stated": metadata never costs the image.
    """
    block = block.removeprefix(_EXIF_PREFIX)
    try:
        layout = layout_from_bytes(block)
        tags, _ = tags_from_directory(block, layout, layout.first_offset, frozenset({ORIENTATION}))
    except (struct.error, KeyError, OverflowError):
        return 1
    return orientation_from_tags(tags)


def orientation_from_tags(tags: dict[int, Tag]) -> int:
    """Return the orientation, 1..8; 1 for values that do not exist."""
    values = tags[ORIENTATION].values if ORIENTATION in tags else ()
    return values[0] if values and 1 <= values[0] <= 8 else 1
