"""What is known of a file before any pixel is decoded: its format, its size, and the limits.

The format is told by the first bytes; the name of a file is never asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from lineup.errors import ImageTooLargeError, UnreadableImageError, UnsupportedImageError


class ImageFormat(str, Enum):
    """Formats that lineup decodes."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    TIFF = "tiff"
    BMP = "bmp"
    GIF = "gif"
    AVIF = "avif"
    HEIC = "heic"


SUPPORTED = "JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF or HEIC"

_MAGIC = (
    (b"\xff\xd8\xff", ImageFormat.JPEG),
    (b"\x89PNG\r\n\x1a\n", ImageFormat.PNG),
    (b"II*\x00", ImageFormat.TIFF),
    (b"MM\x00*", ImageFormat.TIFF),
    (b"II+\x00", ImageFormat.TIFF),  # BigTIFF
    (b"MM\x00+", ImageFormat.TIFF),
    (b"GIF87a", ImageFormat.GIF),
    (b"GIF89a", ImageFormat.GIF),
    (b"BM", ImageFormat.BMP),
)

# Named so that the message says what the file is, not only what it is not.
_FOREIGN_MAGIC = (
    (b"\x00\x00\x00\x0cjP  \r\n", "a JPEG 2000 image"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\x00\x00\x00\x0cJXL \r\n", "a JPEG XL image"),
    (b"8BPS", "a Photoshop document"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or office document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x00\x00\x01\x00", "a Windows icon"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"\x76\x2f\x31\x01", "an OpenEXR image"),
    (b"\x00" * 16, "a run of zero bytes, as an interrupted download leaves"),
)

_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset(
    {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"}
)
_SNIFFED_BYTES = 512


def format_from_bytes(data: bytes) -> ImageFormat:
    """Return the format that the first bytes of `data` announce.

    Raises:
        UnreadableImageError: `data` is empty.
        UnsupportedImageError: `data` is something else; the message says what.
    """
    if not data:
        raise UnreadableImageError("the file is empty (0 bytes); expected an image")
    for magic, image_format in _MAGIC:
        if data.startswith(magic):
            return image_format
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ImageFormat.WEBP
    if data[4:8] == b"ftyp":
        return _format_from_brands(data)
    raise UnsupportedImageError(f"the file holds {_description(data)}; expected {SUPPORTED}")


def _format_from_brands(data: bytes) -> ImageFormat:
    """Read the file type box of AVIF, HEIC and MP4: size, "ftyp", brand, version, brands."""
    size_bytes = min(int.from_bytes(data[:4], "big"), _SNIFFED_BYTES)
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, size_bytes, 4))}
    if brands & _AVIF_BRANDS:
        return ImageFormat.AVIF
    if brands & _HEIC_BRANDS:
        return ImageFormat.HEIC
    raise UnsupportedImageError(
        f"the file holds an MP4 or QuickTime video (brand {data[8:12]!r}); expected {SUPPORTED}"
    )


def _description(data: bytes) -> str:
    for magic, description in _FOREIGN_MAGIC:
        if data.startswith(magic):
            return description
    text = _text_from_head(data[:_SNIFFED_BYTES])
    if text:
        return f"text ({text[:40]!r})"
    return f"no known format (first bytes {data[:8].hex(' ')})"


def _text_from_head(head: bytes) -> str:
    """Return the beginning of a text on one line; empty when it is not text."""
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # else the cut went through a character
            return ""
        text = head[: error.start].decode("utf-8-sig")
    is_text = all(character.isprintable() or character.isspace() for character in text)
    return " ".join(text.split()) if is_text else ""


MAX_SIDE_PX = 1_000_000
"""Longest side that libpng takes (`PNG_USER_WIDTH_MAX`); OpenCV itself stops at 2**20."""


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """Guards against decompression bombs.

    Attributes:
        max_pixels: Largest width times height that is decoded. 150 million pixels take 450 MB as
            RGB, and the largest camera sensors on sale have about that many.
        max_bytes: Largest file that is read.
    """

    max_pixels: int = 150_000_000
    max_bytes: int = 512 * 2**20

    def check_pixels(self, width_px: int, height_px: int) -> None:
        """Refuse a size that a header states, before anything of that size is allocated.

        Raises:
            UnreadableImageError: A side is zero.
            ImageTooLargeError: The image is over `max_pixels`, or a side is over `MAX_SIDE_PX`.
        """
        if width_px < 1 or height_px < 1:
            raise UnreadableImageError(
                f"the header states {width_px} x {height_px} pixels; expected at least 1 x 1"
            )
        if width_px * height_px > self.max_pixels or max(width_px, height_px) > MAX_SIDE_PX:
            raise ImageTooLargeError(
                f"the header states {width_px:,} x {height_px:,} pixels; "
                f"the limit is {self.max_pixels:,} pixels and {MAX_SIDE_PX:,} a side",
                hint="Scale it down: no option lets so long a side pass."
                if max(width_px, height_px) > MAX_SIDE_PX
                else f"If the file can be trusted: lineup scan --max-pixels {width_px * height_px}",
            )

    def check_bytes(self, size_bytes: int) -> None:
        """Refuse a file that is too large to read.

        Raises:
            ImageTooLargeError: The file is over `max_bytes`.
        """
        if size_bytes > self.max_bytes:
            raise ImageTooLargeError(
                f"the file has {size_bytes:,} bytes; the limit is {self.max_bytes:,}",
                hint="No picture needs that many: save it again as PNG or JPEG, if it is one.",
            )


DEFAULT_LIMITS = DecodeLimits()
"""What is used when nothing is asked for."""


class Decoder(str, Enum):
    """Library that decodes the pixels."""

    OPENCV = "opencv"
    PILLOW = "pillow"
    LIBHEIF = "libheif"


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
    orientation: int = 1
    transparent_grey: int | None = None
    notes: tuple[str, ...] = ()


def incomplete(what: str, reason: str) -> UnreadableImageError:
    """Return the error of a file of which a part is missing; `what` is e.g. "truncated PNG"."""
    return UnreadableImageError(f"{what}: {reason}", hint="Get a complete copy of the file.")


def trailing_note(extra_bytes: int) -> tuple[str, ...]:
    """Return the note about bytes that follow the image.

    They are common and harmless (second picture or video of a phone, padding), and of interest to
    whoever examines the file.
    """
    return (f"{extra_bytes:,} bytes after the end of the image ignored",) if extra_bytes else ()
