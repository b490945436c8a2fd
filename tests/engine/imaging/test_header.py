from __future__ import annotations

import numpy as np
import pytest

from lineup.errors import UnreadableImageError, UnsupportedImageError
from lineup.imaging.header import ImageFormat, format_from_bytes


@pytest.mark.parametrize(
    ("file_format", "expected"),
    [
        ("JPEG", ImageFormat.JPEG),
        ("PNG", ImageFormat.PNG),
        ("WEBP", ImageFormat.WEBP),
        ("TIFF", ImageFormat.TIFF),
        ("BMP", ImageFormat.BMP),
        ("GIF", ImageFormat.GIF),
        ("AVIF", ImageFormat.AVIF),
    ],
)
def test_formats_are_told_by_content(photo, encode, file_format, expected):
    assert format_from_bytes(encode(photo, file_format)) is expected


def test_brands_beyond_the_major_one_count():
    box = b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1avif"
    assert format_from_bytes(box) is ImageFormat.AVIF
    assert format_from_bytes(box.replace(b"avif", b"heic")) is ImageFormat.HEIC


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"hello, I am a text file\n", "text ('hello, I am a text file')"),
        ("größer, and cut in the mid".encode() + "ü".encode()[:1], "text"),
        (b"<!DOCTYPE html><html>", "text ('<!DOCTYPE html><html>')"),
        (b"%PDF-1.7", "a PDF document"),
        (b"PK\x03\x04rest", "a ZIP archive"),
        (b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2mp41", "MP4 or QuickTime"),
        (b"\xff\x0a\x00", "a JPEG XL image"),
        (b"\x00" * 4096, "a run of zero bytes"),
        (b"\xff\xd8", "no known format (first bytes ff d8)"),
        (bytes(range(128, 256)), "no known format (first bytes 80 81 82"),
    ],
)
def test_anything_else_is_refused_by_name(data, found):
    with pytest.raises(UnsupportedImageError) as caught:
        format_from_bytes(data)
    assert found in caught.value.message
    assert "expected JPEG, PNG" in caught.value.message


def test_random_bytes_are_refused():
    data = b"\x80" + np.random.default_rng(0).bytes(4096)
    with pytest.raises(UnsupportedImageError):
        format_from_bytes(data)


def test_an_empty_file_is_unreadable():
    with pytest.raises(UnreadableImageError, match="empty"):
        format_from_bytes(b"")
