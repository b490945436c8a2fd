"""Tell the format of a file from its first bytes; its name is never asked."""

from __future__ import annotations

from enum import Enum

from lineup.errors import UnreadableImageError, UnsupportedImageError


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
