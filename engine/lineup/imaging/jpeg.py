"""Structure of JPEG files (ITU-T T.81, annex B), and their pixels.

Decoders fill what is missing with grey or with zeros and report success, so completeness is decided
here:

- From the markers: every channel has image data, and a progressive file every bit of them. A marker
  that cannot occur inside image data means that the data are damaged.
- From the decoder's warnings: data that end early, codes that do not exist.

A missing end marker alone, as some cameras and tools leave it, is noted. JPEG has no checksum:
damage that still decodes without a warning cannot be told from a picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from lineup.errors import UnreadableImageError, UnsupportedImageError
from lineup.imaging.decoders import Raster, raster_from_pillow
from lineup.imaging.header import (
    DecodeLimits,
    Header,
    ImageFormat,
    incomplete,
    trailing_note,
)
from lineup.imaging.tiff import orientation_from_exif
from lineup.imaging.turbojpeg import filled_from_jpeg, pixels_from_jpeg, rgb_from_cmyk
from lineup.types import AnyArray

# A marker that is neither stuffing (00), fill (FF), TEM (01), nor restart (D0-D7), so that one
# search skips the coded data of a scan.
_MARKER = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")

_EOI, _SOS, _APP0, _APP1, _APP14, _COM = 0xD9, 0xDA, 0xE0, 0xE1, 0xEE, 0xFE
_JPEG_LS = 0xF7
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_ARITHMETIC = frozenset({0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
# DHT, DAC, SOS, DQT, DNL, DRI, EXP, APP0-APP15, COM.
_SEGMENTS = frozenset({0xC4, 0xCC, _SOS, 0xDB, 0xDC, 0xDD, 0xDF, _COM, *range(0xE0, 0xF0)})
_KNOWN = _SEGMENTS | _FRAMES | {_EOI, _JPEG_LS}
# The colours depend on Adobe's segment, and on whether there is one of JFIF. Nothing else between
# the tables concerns the pixels, and odd versions and thumbnails only make the decoder warn.
_DROPPED = frozenset({_COM, *range(0xE0, 0xF0)}) - {_APP14}
_JFIF = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
_CMYK_CHANNELS = 4
# Encoders make about ten. Thousands of empty ones, a few bytes each, would take hours.
_MAX_SCANS = 100
_BLOCK_PX, _MOST_BLOCK_PX = 8, 16
_COEFFICIENTS = 64
_UNSEEN = 16  # more bits than a coefficient may lack

_SURPLUS = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_EARLY_END = "premature end"
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_UNENDED = "end marker missing, image data complete"
# With this share of the picture, the last blocks of a large one may be missing: some encoders spoil
# the last bytes, and no evidence hangs on them.
_COMPLETE_ENOUGH = 0.999


@dataclass(slots=True)
class _Structure:
    """What the walk over the markers found.

    `missing_bits` has, by the number of the channel, how many low bits of each coefficient are
    still to come.
    """

    frame_marker: int = 0
    bit_depth: int = 0
    width_px: int = 0
    height_px: int = 0
    missing_bits: dict[int, list[int]] = field(default_factory=dict)
    scan_count: int = 0
    exif: bytes = b""
    stray_bytes: int = 0
    end: int | None = None
    pieces: list[bytes] = field(default_factory=lambda: [b"\xff\xd8"])


def header_from_jpeg(data: bytes, limits: DecodeLimits) -> Header:
    """Read the structure of a JPEG file.

    Raises:
        UnreadableImageError: Truncated or damaged.
        UnsupportedImageError: A kind of JPEG without a decoder.
        ImageTooLargeError: Over the limits.
    """
    structure = _structure_from_jpeg(data, limits)
    _check_scans(structure)
    stream = b"".join([*structure.pieces, b"\xff\xd9"])
    _check_size(structure, len(stream))
    notes = (_UNENDED,) if structure.end is None else trailing_note(len(data) - structure.end)
    if structure.stray_bytes:
        notes += (f"{structure.stray_bytes:,} stray bytes between its segments skipped",)
    return Header(
        format=ImageFormat.JPEG,
        width_px=structure.width_px,
        height_px=structure.height_px,
        bit_depth=structure.bit_depth,
        stream=stream,
        orientation=orientation_from_exif(structure.exif),
        notes=notes,
    )


def _structure_from_jpeg(data: bytes, limits: DecodeLimits) -> _Structure:
    structure = _Structure()
    previous, position = 0, 2
    for marker, begin, start, end in markers(data):
        if previous == _SOS:
            structure.pieces.append(data[position:begin])
        else:  # fill bytes may stand before any marker
            structure.stray_bytes += len(data[position:begin].strip(b"\xff"))
        previous, position = marker, end
        if marker == _EOI:
            structure.end = end
            break
        if marker not in _SEGMENTS and structure.frame_marker:
            raise _damaged(marker, begin)
        _read_segment(structure, marker, data[start:end], limits)
        if marker not in _DROPPED:
            structure.pieces.append(data[begin:end])
    if not structure.frame_marker:
        raise incomplete("truncated JPEG", "it ends before its frame header")
    if not structure.scan_count:
        raise incomplete("truncated JPEG", "it ends before its image data")
    if structure.end is None and previous == _SOS:
        structure.pieces.append(data[position:].rstrip(b"\xff"))
    return structure


def _read_segment(structure: _Structure, marker: int, payload: bytes, limits: DecodeLimits) -> None:
    if marker == _JPEG_LS:
        raise UnsupportedImageError("the file holds a JPEG-LS image, which has no decoder")
    if marker in _FRAMES:
        _read_frame(structure, marker, payload)
        limits.check_pixels(structure.width_px, structure.height_px)
    elif marker == _SOS:
        _read_scan(structure, payload)
    elif marker == _APP1 and not structure.exif and payload.startswith(b"Exif\x00\x00"):
        structure.exif = payload
    elif marker == _APP0 and payload.startswith(b"JFIF\x00"):
        structure.pieces.append(_JFIF)


def markers(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield marker, its position, start and end of its payload, up to the end marker."""
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
        yield marker, found.start(), start, end
        position = end


def _read_frame(structure: _Structure, marker: int, payload: bytes) -> None:
    channels = payload[5] if len(payload) > 5 else 0
    if len(payload) < 6 or len(payload) < 6 + 3 * channels:
        raise UnreadableImageError("damaged JPEG: the frame header is too short")
    structure.frame_marker = marker
    structure.bit_depth = payload[0]
    structure.height_px = int.from_bytes(payload[1:3], "big")
    structure.width_px = int.from_bytes(payload[3:5], "big")
    if structure.bit_depth != 8 or channels not in (1, 3, _CMYK_CHANNELS):
        raise UnsupportedImageError(
            f"a JPEG of {structure.bit_depth} bits and {channels} channels has no "
            "decoder; expected 8 bits and 1, 3 or 4 channels"
        )
    names = payload[6 : 6 + 3 * channels : 3]
    structure.missing_bits = {name: [_UNSEEN] * _COEFFICIENTS for name in names}


def _read_scan(structure: _Structure, payload: bytes) -> None:
    """Note which bits of which coefficients a scan brings (T.81, B.2.3)."""
    structure.scan_count += 1
    if structure.scan_count > _MAX_SCANS:
        raise UnreadableImageError(f"damaged JPEG: more than {_MAX_SCANS} scans")
    names = payload[1 : 1 + 2 * payload[0] : 2] if payload else b""
    if not names or len(payload) != 4 + 2 * len(names) or set(names) - set(structure.missing_bits):
        raise UnreadableImageError("damaged JPEG: a scan header that does not fit the frame")
    first, last, low_bits = payload[-3], payload[-2], payload[-1] & 0x0F
    if structure.frame_marker not in _PROGRESSIVE:
        first, last, low_bits = 0, _COEFFICIENTS - 1, 0
    last = min(last, _COEFFICIENTS - 1)
    for name in names:
        structure.missing_bits[name][first : last + 1] = [low_bits] * (last + 1 - first)


def _check_scans(structure: _Structure) -> None:
    """Refuse a file without all channels, or without all bits of all coefficients.

    Raises:
        UnreadableImageError: Scans are missing.
    """
    channels = structure.missing_bits.values()
    share = np.mean([bits == 0 for channel in channels for bits in channel])
    if share < 1:
        unseen = sum(bits[0] == _UNSEEN for bits in channels)
        raise incomplete(
            "truncated JPEG",
            f"scans are missing: {unseen} of its {len(channels)} channels have no image data, "
            f"{share:.0%} of the coefficients are there in full",
        )


def _check_size(structure: _Structure, size_bytes: int) -> None:
    """Refuse at once a large picture that a small file cannot hold, whatever its data.

    Raises:
        UnreadableImageError: Huffman codes take a bit a block at least, and there are fewer.
    """
    blocks = -(-structure.width_px // _BLOCK_PX) * -(-structure.height_px // _BLOCK_PX)
    if structure.frame_marker not in _ARITHMETIC and 8 * size_bytes < blocks:
        raise incomplete("truncated JPEG", f"{size_bytes:,} bytes for {blocks:,} blocks of pixels")


def raster_from_jpeg(header: Header, limits: DecodeLimits) -> Raster:
    """Decode a JPEG file whose structure was read.

    Raises:
        UnreadableImageError: Image data are missing or damaged.
        UnsupportedImageError: A kind of JPEG without a decoder.
    """
    try:
        pixels, warning = pixels_from_jpeg(header.stream)
    except ValueError as error:
        if "nsupported" in str(error):
            raise UnsupportedImageError(f"a JPEG without a decoder: {error}") from None
        # TurboJPEG takes the usual subsamplings only.
        unchecked = f"not checked for missing image data ({error})"
        return raster_from_pillow(replace(header, notes=(*header.notes, unchecked)), limits)
    notes = header.notes
    if warning is not None:
        notes += _notes_from_warning(warning, header, pixels)
    if pixels.ndim == 3 and pixels.shape[2] == _CMYK_CHANNELS:
        pixels, notes = rgb_from_cmyk(pixels), (*notes, "CMYK converted to RGB")
    return Raster(pixels, header.bit_depth, header.orientation, notes)


def _notes_from_warning(warning: str, header: Header, pixels: AnyArray) -> tuple[str, ...]:
    """Return the note that a warning of the decoder is worth.

    It returns the first one only. Behind surplus data at the end there can be no other.

    Raises:
        UnreadableImageError: Image data are missing or damaged.
    """
    surplus = _SURPLUS.search(warning)
    if surplus:
        return (f"{int(surplus[1]):,} bytes of image data are left over; it may be damaged",)
    # Between restart markers, data may end early anywhere.
    if _EARLY_END in warning and not _RESTART.search(header.stream):
        share = _share_there(header.stream, pixels)
        found = f"its image data end after {share:.2%} of the picture"
        if _UNENDED in header.notes or not _COMPLETE_ENOUGH < share < 1:
            raise incomplete("truncated JPEG", found)
        return (found,)
    if "Corrupt" in warning:
        what = "truncated" if _EARLY_END in warning else "damaged"
        raise incomplete(f"{what} JPEG", warning.removeprefix("Corrupt JPEG data: "))
    return (f"the decoder warns: {warning}",)


def _share_there(stream: bytes, pixels: AnyArray) -> float:
    """Return which share is there of a picture whose data end early.

    The decoder reads zero bits past the end, so other bits there change the first missing block.
    """
    other = filled_from_jpeg(stream[:-2] + b"\xaa" * 64 + stream[-2:])
    changed = (other != pixels).reshape(*pixels.shape[:2], -1).any(axis=2)
    if not changed.any():
        return 1.0
    row = int(changed.any(axis=1).argmax())
    # Smooth chroma reaches one row up.
    is_last_row = row >= len(changed) - _MOST_BLOCK_PX - 1
    return float(1 - changed.mean()) if is_last_row else row / len(changed)


def _damaged(marker: int, position: int) -> UnreadableImageError:
    return UnreadableImageError(
        f"damaged JPEG: marker 0x{marker:02x} where it cannot occur, at byte {position}"
    )
