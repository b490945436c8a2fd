"""Whatever happens to a file, decoding ends in an image or in an ImageError."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lineup.errors import ImageError
from lineup.imaging.decode import _HEADER_READERS, image_from_bytes
from lineup.imaging.header import DecodeLimits, format_from_bytes

LIMITS = DecodeLimits(max_pixels=200_000)
FORMATS = ("JPEG", "PROGRESSIVE", "CMYK", "PNG", "WEBP", "ANIMATED", "TIFF", "LZW", "BMP", "GIF")

# (kind of damage, where it begins as a share of the file, bytes written there)
DAMAGE = st.lists(
    st.tuples(
        st.sampled_from(["write", "write", "delete", "insert", "cut"]),
        # Headers are small and hold what matters.
        st.one_of(st.floats(0, 1), st.floats(0, 0.05)),
        st.one_of(
            st.binary(min_size=1, max_size=8),
            st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", struct.pack("<I", 1)]),
        ),
    ),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module")
def files(photo, encode, data_dir):
    exif = Image.Exif()
    exif[274] = 6
    small = np.ascontiguousarray(photo[:40, :50])
    frames = [Image.fromarray(small[::-1].copy())]
    special = {
        "PROGRESSIVE": lambda: encode(small, "JPEG", progressive=True, exif=exif),
        "CMYK": lambda: encode(small, "JPEG", mode="CMYK"),
        "ANIMATED": lambda: encode(small, "WEBP", save_all=True, append_images=frames),
        "LZW": lambda: encode(small, "TIFF", compression="tiff_lzw", exif=exif),
    }
    made = {name: special[name]() if name in special else encode(small, name) for name in FORMATS}
    made["AVIF"] = encode(small, "AVIF")
    made["HEIC"] = (data_dir / "plain.heic").read_bytes()
    return made


def damaged(data, damage):
    out = bytearray(data)
    for kind, share, written in damage:
        at = int(share * len(out))
        if kind == "cut":
            del out[at:]
        elif kind == "delete":
            del out[at : at + len(written)]
        else:
            out[at : at + (len(written) if kind == "write" else 0)] = written
    return bytes(out)


@pytest.mark.parametrize("name", [*FORMATS, "AVIF", "HEIC"])
def test_damage_raises_image_errors_only(files, name):
    @settings(max_examples=40, derandomize=True, database=None,
              suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
    @given(DAMAGE)
    def check(damage):
        data = damaged(files[name], damage)
        try:
            reader = _HEADER_READERS.get(format_from_bytes(data))
            if reader is not None:
                # By itself too: image_from_bytes turns its mistakes into errors.
                reader(data, LIMITS)
            image = image_from_bytes(data, limits=LIMITS)
        except ImageError:
            pass
        else:
            assert image.pixels.dtype == np.uint8
            assert image.pixels.shape == (image.height_px, image.width_px, 3)
            assert image.height_px * image.width_px <= LIMITS.max_pixels

    check()


@settings(max_examples=100, derandomize=True, database=None)
@given(
    st.sampled_from(
        [
            b"",
            b"\xff\xd8\xff",
            b"\x89PNG\r\n\x1a\n",
            b"BM",
            b"II*\0",
            b"MM\0+",
            b"RIFF\0\0\0\0WEBP",
            b"GIF89a",
        ]
    ),
    st.binary(max_size=200),
)
def test_noise_raises_image_errors_only(head, noise):
    with pytest.raises(ImageError):
        image_from_bytes(head + noise, limits=LIMITS)
