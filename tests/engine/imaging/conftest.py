"""Images and file builders for the imaging tests."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


def _encode(pixels: Any, image_format: str, mode: str | None = None, **options: Any) -> bytes:
    """Encode an array, or a Pillow image, with Pillow."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    if mode is not None:
        image = image.convert(mode)
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def _chunk(name: bytes, payload: bytes) -> bytes:
    checksum = zlib.crc32(name + payload)
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", checksum)


def _png(
    pixels: Any, colour_type: int, *, depth: int = 8, extra: bytes = b"", size: Any = None
) -> bytes:
    """Write a PNG by hand: any depth and colour type, `extra` chunks before the image data."""
    height, width = pixels.shape[:2] if size is None else size
    rows = [pixels[i].astype(">u2" if depth == 16 else "u1") for i in range(len(pixels))]
    if depth < 8:
        bits = [np.unpackbits(row[:, None], axis=1)[:, 8 - depth :].ravel() for row in rows]
        rows = [np.packbits(row) for row in bits]
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    chunks = [_chunk(b"IHDR", header), extra, _chunk(b"IDAT", data), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _tiff(
    pixels: Any, photometric: int, *, order: str = "<", planar: int = 1, tags: Any = None
) -> bytes:
    """Write an uncompressed TIFF by hand; `tags` adds or replaces {number: value}."""
    samples = 1 if pixels.ndim == 2 else pixels.shape[2]
    stored = np.moveaxis(pixels, -1, 0) if planar == 2 else pixels
    body = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
    body += b"\0" * (len(body) % 2)
    planes = samples if planar == 2 else 1
    step = pixels.nbytes // planes
    values: dict[int, list[int]] = {
        256: [pixels.shape[1]],
        257: [pixels.shape[0]],
        258: [pixels.dtype.itemsize * 8] * samples,
        259: [1],
        262: [photometric],
        273: [8 + i * step for i in range(planes)],
        277: [samples],
        278: [pixels.shape[0]],
        279: [step] * planes,
        284: [planar],
        **{number: [value] for number, value in (tags or {}).items()},
    }
    far_at = 8 + len(body) + 2 + 12 * len(values) + 4
    entries, far = struct.pack(order + "H", len(values)), b""
    for number, numbers in sorted(values.items()):
        code = "H" if number in (258, 259, 262, 274, 277, 284, 338, 339) else "I"
        raw = struct.pack(f"{order}{len(numbers)}{code}", *numbers)
        if len(raw) > 4:
            raw, far = struct.pack(order + "I", far_at + len(far)), far + raw
        kind = 3 if code == "H" else 4
        entries += struct.pack(order + "HHI", number, kind, len(numbers)) + raw.ljust(4, b"\0")
    magic = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(body))
    return magic + body + entries + b"\0\0\0\0" + far


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    return _encode


@pytest.fixture(scope="session")
def chunk() -> Callable[[bytes, bytes], bytes]:
    return _chunk


@pytest.fixture(scope="session")
def png() -> Callable[..., bytes]:
    return _png


@pytest.fixture(scope="session")
def tiff() -> Callable[..., bytes]:
    return _tiff


@pytest.fixture(scope="session")
def photo() -> np.ndarray[Any, Any]:
    """Shape (90, 120, 3), uint8 RGB: smooth colours with noise, different in every corner."""
    y, x = np.mgrid[0:90, 0:120]
    smooth = [127 + 100 * np.sin(x / 17 + i) * np.cos(y / 13 + 2 * i) for i in range(3)]
    noise = np.random.default_rng(0).normal(0, 8, (90, 120, 3))
    return np.clip(np.stack(smooth, -1) + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    return Path(__file__).parent / "data"
