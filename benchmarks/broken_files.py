"""Make twenty files that no image scan may stumble over.

python benchmarks/broken_files.py --output DIR
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import click
import cv2
import numpy as np

PIXELS = np.random.default_rng(20261122).integers(0, 256, (300, 400, 3), np.uint8)


def encoded(suffix: str) -> bytes:
    """Return a valid image in the format of `suffix`."""
    return bytes(cv2.imencode(suffix, PIXELS)[1].tobytes())


def png_header(width_px: int, height_px: int) -> bytes:
    """Return a PNG that claims a size and holds next to nothing."""
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0),
        b"IDAT": zlib.compress(b"\0" * 1000),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks.items()
    )


def damaged(data: bytes, start: float, length: int) -> bytes:
    """Return `data` with `length` bytes zeroed from the fraction `start` on."""
    at = int(start * len(data))
    return data[:at] + b"\0" * length + data[at + length :]


def files() -> dict[str, bytes]:
    """Return the content per name of what is an ordinary file."""
    jpeg, png, webp, tiff = (encoded(suffix) for suffix in (".jpg", ".png", ".webp", ".tiff"))
    return {
        "zero-bytes.jpg": b"",
        "one-byte.png": b"\x89",
        "text.jpg": b"This is a text, whatever its name says.\n",
        "page.png": b"<!DOCTYPE html><html><body>404</body></html>",
        "random.jpg": np.random.default_rng(1).bytes(50_000),
        "random.webp": np.random.default_rng(2).bytes(50_000),
        "truncated-10.jpg": jpeg[: len(jpeg) // 10],
        "truncated-60.jpg": jpeg[: len(jpeg) * 6 // 10],
        "truncated-99.jpg": jpeg[: len(jpeg) * 99 // 100],
        "truncated-50.png": png[: len(png) // 2],
        "truncated-99.png": png[: len(png) * 99 // 100],
        "truncated-50.webp": webp[: len(webp) // 2],
        "truncated-50.tiff": tiff[: len(tiff) // 2],
        "damaged.png": damaged(png, 0.5, 2_000),
        "header-60000x60000.png": png_header(60_000, 60_000),
        "header-0x0.png": png_header(0, 0),
        "magic-only.gif": b"GIF89a",
    }


def special() -> dict[str, Callable[[Path], None]]:
    """Return how to make what is no ordinary file."""
    return {
        "fifo.png": os.mkfifo,
        "dangling-link.png": lambda path: path.symlink_to("nowhere"),
        "loop.png": lambda path: path.symlink_to(path.name),
    }


@click.command()
@click.option("--output", type=click.Path(path_type=Path), required=True)
def main(output: Path) -> None:
    """Fill a new folder, and print the number of files and a folder named like an image."""
    output.mkdir(parents=True)
    for name, content in files().items():
        (output / name).write_bytes(content)
    for name, make in special().items():
        make(output / name)
    (output / "unreadable.png").write_bytes(encoded(".png"))
    (output / "unreadable.png").chmod(0)
    (output / "folder.png").mkdir()
    click.echo(f"{len(files()) + len(special())} broken files, unreadable.png, folder.png/")


if __name__ == "__main__":
    main()
