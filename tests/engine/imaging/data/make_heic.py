"""Remake the HEIC files of this folder: `pip install pillow-heif && python make_heic.py`.

The tests cannot make them: the runtime depends on a decoder only.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image

FOLDER = Path(__file__).parent
QUARTERS = np.zeros((48, 64, 3), np.uint8)
QUARTERS[:24, :32] = (255, 0, 0)
QUARTERS[:24, 32:] = (0, 255, 0)
QUARTERS[24:, :32] = (0, 0, 255)
QUARTERS[24:, 32:] = (255, 255, 255)


def box_at(data: bytes, name: bytes) -> tuple[int, int]:
    """Return start and size of the first box of that name."""
    start = data.index(name) - 4
    return start, struct.unpack_from(">I", data, start)[0]


def turned(data: bytes, angle: int) -> bytes:
    """Add a rotation box (angle * 90 degrees, anticlockwise) to the only picture of a file."""
    out = bytearray(data)
    start, size = box_at(out, b"ipco")
    count, at = 0, start + 8
    while at < start + size:
        count, at = count + 1, at + struct.unpack_from(">I", out, at)[0]
    irot = struct.pack(">I4sB", 9, b"irot", angle)
    out[start + size : start + size] = irot
    ipma, _ = box_at(out, b"ipma")
    entry = ipma + 16  # box header, version and flags, entry count
    associations = out[entry + 2]
    out[entry + 2] += 1
    at = entry + 3 + associations
    out[at:at] = bytes([0x80 | count + 1])
    added = len(irot) + 1
    for name, grown in (
        (b"ipco", len(irot)),
        (b"ipma", 1),
        (b"iprp", added),
        (b"meta", added),
    ):
        position, old = box_at(out, name)
        struct.pack_into(">I", out, position, old + grown)
    old_offset = box_at(data, b"mdat")[0] + 8
    old_bytes = struct.pack(">I", old_offset)
    iloc, iloc_size = box_at(out, b"iloc")
    found = out.index(old_bytes, iloc, iloc + iloc_size)
    out[found : found + 4] = struct.pack(">I", old_offset + added)
    return bytes(out)


def main() -> None:
    """Write plain, turned, two, alpha and deep."""
    plain = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(QUARTERS)).save(plain, quality=80)
    (FOLDER / "plain.heic").write_bytes(plain.getvalue())
    # As phones write it: both the box and, for old readers, the same in EXIF (not added here).
    (FOLDER / "turned.heic").write_bytes(turned(plain.getvalue(), 3))
    two = pillow_heif.from_pillow(Image.fromarray(QUARTERS))
    two.add_from_pillow(Image.fromarray(QUARTERS[::-1].copy()))
    two.save(FOLDER / "two.heic", quality=60)
    rgba = np.dstack([QUARTERS, np.full((48, 64), 128, np.uint8)])
    pillow_heif.from_pillow(Image.fromarray(rgba)).save(FOLDER / "alpha.heic", quality=80)
    deep = QUARTERS.astype(np.uint16) * 257
    pillow_heif.from_bytes("RGB;16", (64, 48), deep.tobytes()).save(
        FOLDER / "deep.heic", quality=80, chroma=444
    )
    exif = Image.Exif()
    exif[274] = 6
    only_exif = io.BytesIO()
    pillow_heif.register_heif_opener()
    Image.fromarray(QUARTERS).save(only_exif, "HEIF", quality=80, exif=exif)
    (FOLDER / "exif.heic").write_bytes(only_exif.getvalue())


main()
