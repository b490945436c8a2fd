"""Structure of TIFF files (TIFF 6.0, BigTIFF), and their tag directories, which EXIF shares."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lineup.errors import UnreadableImageError, UnsupportedImageError
from lineup.imaging.header import DecodeLimits, Decoder, Header, ImageFormat, incomplete

ORIENTATION = 274

_HEADERS = {
    b"II*\x00": ("<", False),
    b"MM\x00*": (">", False),
    b"II+\x00": ("<", True),
    b"MM\x00+": (">", True),
}
_EXIF_PREFIX = b"Exif\x00\x00"
# Integer types of TIFF 6.0 and BigTIFF: BYTE, SHORT, LONG, UNDEFINED, IFD, LONG8, IFD8.
_TYPE_CODES = {1: "B", 3: "H", 4: "I", 7: "B", 13: "I", 16: "Q", 18: "Q"}
_UNDEFINED = 7
# Strips or tiles of one page; more would be a way to fill the memory with numbers.
_MAX_VALUES = 1_000_000
# Tags of one directory, and pages that are counted: a hostile file makes a directory of every byte.
_MAX_TAGS = 1000
_MAX_PAGES = 1000


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
    order, is_big = _HEADERS[data[:4]]
    (first,) = struct.unpack_from(order + ("Q" if is_big else "I"), data, 8 if is_big else 4)
    return Layout(order, is_big, first)


def tags_from_directory(
    data: bytes,
    layout: Layout,
    offset: int,
    wanted: frozenset[int],
    codes: Mapping[int, str] = _TYPE_CODES,
) -> tuple[dict[int, Tag], int]:
    """Read the tags of one directory: integers, or what `codes` makes of the types that it has.

    Returns:
        Tags by number, and the offset of the next directory (0: none).

    Raises:
        struct.error: The directory or a value lies outside of `data`, or is no integer.
    """
    count_code, entry_codes, inline_bytes = ("Q", "HHQ", 8) if layout.is_big else ("H", "HHI", 4)
    (count,) = layout.unpack(count_code, data, offset)
    if count > _MAX_TAGS:
        raise struct.error(f"a directory states {count} tags")
    position = offset + struct.calcsize("=" + count_code)
    head_bytes = struct.calcsize("=" + entry_codes)
    tags: dict[int, Tag] = {}
    for _ in range(count):
        number, value_type, length = layout.unpack(entry_codes, data, position)
        if number in wanted and number not in tags:
            is_opaque = value_type == _UNDEFINED and number != JPEG_TABLES
            if codes is _TYPE_CODES and (value_type not in codes or is_opaque):
                raise struct.error(f"tag {number} is of type {value_type}")
            if value_type in codes:
                at = position + head_bytes
                tags[number] = _tag(data, layout, at, codes[value_type], length)
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


_SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
SAMPLES, ROWS_PER_STRIP, PLANAR, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 277, 278, 284, 338, 339
TILE_WIDTH, TILE_HEIGHT, JPEG_TABLES, _DNG_VERSION = 322, 323, 347, 50706
STRIPS, TILES = (273, 279), (324, 325)  # offsets and byte counts
_PREDICTOR = 317
_SINGLE = frozenset(
    {_SUBFILE_TYPE, WIDTH, HEIGHT, COMPRESSION, _PHOTOMETRIC, SAMPLES, ROWS_PER_STRIP, PLANAR}
    | {_PREDICTOR, TILE_WIDTH, TILE_HEIGHT}
)
WANTED = _SINGLE | frozenset(
    {BITS, _EXTRA_SAMPLES, _SAMPLE_FORMAT, _DNG_VERSION, ORIENTATION, JPEG_TABLES, *STRIPS, *TILES}
)

UNCOMPRESSED, JPEG, DEFLATE, PACK_BITS = 1, 7, frozenset({8, 32946}), 32773
# With fax codes (2 to 4) and LZW, what both decoders read. OpenCV returns black for others.
_COMPRESSIONS = frozenset({UNCOMPRESSED, 2, 3, 4, 5, JPEG, PACK_BITS}) | DEFLATE
_NAMES = {6: "old JPEG", 34712: "JPEG 2000", 34925: "LZMA", 50000: "Zstandard", 50001: "WebP"}

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_REDUCED = 1  # bit of the subfile type: a smaller copy of another page
_STRAIGHT_ALPHA = 2
_UNSIGNED = 1
CHUNKY = 1

# (photometric, samples) that Pillow decodes right at 8 bits; with one sample also at 1, 2 and 4.
# OpenCV makes black of what is damaged, drops alpha from grey, multiplies it into RGB and takes
# CMYK for RGB with alpha.
_PILLOW_8_BIT = {
    (_WHITE_IS_ZERO, 1),
    (_BLACK_IS_ZERO, 1),
    (_PALETTE, 1),
    (_WHITE_IS_ZERO, 2),
    (_BLACK_IS_ZERO, 2),
    (_RGB, 3),
    (_YCBCR, 3),
    (_RGB, 4),
    (_CMYK, 4),
}
# That OpenCV decodes right, where Pillow drops the low bits.
_OPENCV_16_BIT = {(_BLACK_IS_ZERO, 1), (_RGB, 3), (_RGB, 4)}


def header_from_tiff(data: bytes, limits: DecodeLimits) -> Header:
    """Read the structure of a TIFF file; the image is its first page.

    Raises:
        UnreadableImageError: Truncated or damaged.
        UnsupportedImageError: A pixel layout that no decoder gets right, or a camera raw file.
        ImageTooLargeError: Over the limits.
    """
    try:
        layout = layout_from_bytes(data)
        tags, following = tags_from_directory(data, layout, layout.first_offset, WANTED)
        page_count = 1 + sum(1 for _ in _further_pages(data, layout, following))
    except (struct.error, OverflowError) as error:
        raise incomplete("truncated or damaged TIFF", str(error)) from None
    width, height = first_value(tags, WIDTH, 0), first_value(tags, HEIGHT, 0)
    limits.check_pixels(width, height)
    faulty = [number for number in _SINGLE & tags.keys() if len(tags[number].values) != 1]
    if _EXTRA_SAMPLES in tags and len(tags[_EXTRA_SAMPLES].values) >= first_value(tags, SAMPLES, 1):
        faulty.append(_EXTRA_SAMPLES)
    if faulty or COMPRESSION not in tags:
        # Decoders go on with what the tag would be if it were not there.
        raise UnreadableImageError(f"damaged TIFF: tag {faulty[0] if faulty else COMPRESSION}")
    if _DNG_VERSION in tags or first_value(tags, _SUBFILE_TYPE, 0) & _REDUCED:
        raise UnsupportedImageError(
            "the first page is a preview, as in camera raw files",
            hint="Develop the raw file to TIFF or JPEG first.",
        )
    compression = first_value(tags, COMPRESSION, UNCOMPRESSED)
    if compression not in _COMPRESSIONS:
        name = _NAMES.get(compression, "unknown")
        raise UnsupportedImageError(
            f"a TIFF of compression {compression} ({name}) has no decoder",
            hint="Save it with LZW or without compression.",
        )
    decoder = _decoder_from_tags(tags, compression)
    return Header(
        format=ImageFormat.TIFF,
        width_px=width,
        height_px=height,
        bit_depth=first_value(tags, BITS, 1),
        stream=_patched(data, layout, tags),
        decoder=decoder,
        orientation=orientation_from_tags(tags),
        notes=_notes(page_count, _numbers(data, layout)),
    )


def _numbers(data: bytes, layout: Layout) -> list[int]:
    """Return the numbers of all tags of the first directory, which was read before."""
    count_code, start, step = ("Q", 8, 20) if layout.is_big else ("H", 2, 12)
    (count,) = layout.unpack(count_code, data, layout.first_offset)
    first = layout.first_offset + start
    return [layout.unpack("H", data, first + step * i)[0] for i in range(count)]


def _notes(page_count: int, numbers: list[int]) -> tuple[str, ...]:
    notes = (f"first of {page_count} pages",) if page_count > 1 else ()
    is_ordered = numbers == sorted(numbers)
    return notes if is_ordered else (*notes, "its tags are out of order; it may be damaged")


def first_value(tags: dict[int, Tag], number: int, default: int) -> int:
    """Return the first value of a tag."""
    values = tags[number].values if number in tags else ()
    return values[0] if values else default


def _further_pages(data: bytes, layout: Layout, offset: int) -> Iterator[int]:
    """Yield the offset of every further page that is not a smaller copy; safe against loops."""
    seen = {layout.first_offset, 0}
    while offset not in seen and len(seen) < _MAX_PAGES:
        seen.add(offset)
        tags, following = tags_from_directory(data, layout, offset, frozenset({_SUBFILE_TYPE}))
        if not first_value(tags, _SUBFILE_TYPE, 0) & _REDUCED:
            yield offset
        offset = following


def _decoder_from_tags(tags: dict[int, Tag], compression: int) -> Decoder:
    """Choose the decoder that gets a pixel layout right.

    Raises:
        UnsupportedImageError: There is none.
    """
    depths = set(tags[BITS].values) if BITS in tags else {1}
    samples, photometric = first_value(tags, SAMPLES, 1), first_value(tags, _PHOTOMETRIC, -1)
    layout = (photometric, samples)
    if first_value(tags, _SAMPLE_FORMAT, _UNSIGNED) == _UNSIGNED and len(depths) == 1:
        (depth,) = depths
        is_low = samples == 1 and depth in (1, 2, 4)
        # Outside of JPEG, chroma is subsampled in an order that Pillow does not know.
        is_known = layout in _PILLOW_8_BIT and (photometric != _YCBCR or compression == JPEG)
        if is_known and (depth == 8 or is_low):
            return Decoder.PILLOW
        # OpenCV reads 16-bit planes as if they were pixels, and takes alpha as stored.
        is_straight = samples != 4 or first_value(tags, _EXTRA_SAMPLES, 0) == _STRAIGHT_ALPHA
        is_chunky = first_value(tags, PLANAR, CHUNKY) == CHUNKY or samples == 1
        if depth == 16 and layout in _OPENCV_16_BIT and is_straight and is_chunky:
            return Decoder.OPENCV
    raise UnsupportedImageError(
        f"a TIFF of {samples} channels, {'/'.join(map(str, sorted(depths)))} bits and colour model "
        f"{photometric} (PhotometricInterpretation) has no exact decoder",
        hint="Save it as 8-bit RGB, or as 16-bit RGB in one plane.",
    )


def _patched(data: bytes, layout: Layout, tags: dict[int, Tag]) -> bytes:
    """Return the file with its orientation, and the planes of grey, set to 1.

    OpenCV and Pillow both rotate TIFF files unasked; the orientation is applied once, by lineup.
    Pillow does not invert grey in planes.
    """
    numbers = (ORIENTATION, PLANAR) if first_value(tags, SAMPLES, 1) == 1 else (ORIENTATION,)
    wrong = [tags[number] for number in numbers if first_value(tags, number, 1) != 1]
    if not wrong:
        return data
    patched = bytearray(data)
    for tag in wrong:
        struct.pack_into(layout.order + tag.type_code, patched, tag.offset, 1)
    return bytes(patched)
