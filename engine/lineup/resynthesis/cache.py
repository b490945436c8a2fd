"""Resyntheses and their features on disk, so that no work is done twice.

Every result lies in a file of its own whose name is the hash of everything that it follows from. A
result is never changed, so two processes that write the same one write the same bytes. When the
folder outgrows its limit, the results that were not used for the longest time go first.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from lineup.errors import ImageError, UsageError
from lineup.files import sha256_from_bytes, write_atomic
from lineup.imaging.decode import image_from_bytes
from lineup.paths import home_dir
from lineup.types import Float32Array, RgbImage

DEFAULT_LIMIT_MIB = 512
LIMIT_VARIABLE = "LINEUP_CACHE_MIB"
KEPT_SHARE = 0.9
"""An eviction goes down to this share of the limit, so that not every write is followed by one."""

PNG_COMPRESSION = 1
"""Of 0..9; resyntheses are written more often than read, and higher levels gain a tenth."""

Parts = Mapping[str, Any]
"""What a result follows from, as JSON values."""

Result = TypeVar("Result")


class ResultCache:
    """A bounded folder of images and arrays.

    Args:
        folder: Created by the first write.
        limit_mib: Size that the folder is kept below; at least 1.
        precision: What the results are computed in; empty is as exported.
    """

    def __init__(
        self, folder: Path, *, limit_mib: int = DEFAULT_LIMIT_MIB, precision: str = ""
    ) -> None:
        self.folder = folder
        self._precision = {"precision": precision} if precision else {}
        self._limit_bytes = limit_mib * 2**20
        self._size_bytes: int | None = None

    def image(self, parts: Parts) -> RgbImage | None:
        """Return the image that follows from `parts`, (H, W, 3) uint8 RGB; None if absent."""
        # Of the reader, because it refuses incomplete files.
        return self._found(self._path(parts, ".png"), lambda data: image_from_bytes(data).pixels)

    def write_image(self, parts: Parts, image: RgbImage) -> None:
        """Keep an image, shape (H, W, 3), uint8 RGB."""
        options = [cv2.IMWRITE_PNG_COMPRESSION, PNG_COMPRESSION]
        _, encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
        self._write(self._path(parts, ".png"), encoded.tobytes())

    def features(self, parts: Parts) -> Float32Array | None:
        """Return the array that follows from `parts`, float32; None if absent."""

        def decode(data: bytes) -> Float32Array:
            return np.asarray(np.load(io.BytesIO(data), allow_pickle=False))

        return self._found(self._path(parts, ".npy"), decode)

    def write_features(self, parts: Parts, features: Float32Array) -> None:
        """Keep an array, float32: the features of an image, or latents on their way to one."""
        stream = io.BytesIO()
        np.save(stream, features, allow_pickle=False)
        self._write(self._path(parts, ".npy"), stream.getvalue())

    def drop_features(self, parts: Parts) -> None:
        """Remove an array that is of no further use; an absent one is no error."""
        self._drop(self._path(parts, ".npy"))

    def _path(self, parts: Parts, suffix: str) -> Path:
        every = {**parts, **self._precision}
        canonical = json.dumps(every, sort_keys=True, separators=(",", ":"), allow_nan=False)
        key = sha256_from_bytes(canonical.encode())
        return self.folder / key[:2] / f"{key}{suffix}"

    def _found(self, path: Path, decode: Callable[[bytes], Result]) -> Result | None:
        try:
            data = path.read_bytes()
        except OSError:  # absent, or another process has just evicted it
            return None
        with suppress(OSError):
            os.utime(path)  # the time of the last use decides what is evicted
        try:
            return decode(data)
        except (ImageError, ValueError, EOFError, OSError):
            self._drop(path)
            return None

    def _drop(self, path: Path) -> None:
        """Remove a file, such as one that a power cut has spoilt; it is made again if need be."""
        with suppress(OSError):
            path.unlink()

    def _write(self, path: Path, data: bytes) -> None:
        """Write by renaming; a cache that cannot be written is no reason to fail."""
        with suppress(OSError):
            write_atomic(path, data, sync=False)
            self._account(len(data))

    def _account(self, added_bytes: int) -> None:
        # Other processes' writes are seen at the next count, so the limit is kept approximately.
        if self._size_bytes is None:
            self._size_bytes = sum(size for _, size, _ in self._files())
        else:
            self._size_bytes += added_bytes
        if self._size_bytes > self._limit_bytes:
            self._evict()

    def _files(self) -> list[tuple[float, int, Path]]:
        """Return time of last use, size and path of every file, oldest first."""
        found = []
        for path in self.folder.glob("??/*"):
            with suppress(OSError):
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        return sorted(found)

    def _evict(self) -> None:
        entries = self._files()
        total = sum(size for _, size, _ in entries)
        for _, size, path in entries:
            if total <= KEPT_SHARE * self._limit_bytes:
                break
            self._drop(path)
            total -= size
        self._size_bytes = total


def open_cache(precision: str = "") -> ResultCache:
    """Return the cache in the home folder; `$LINEUP_CACHE_MIB` overrides its size limit.

    Raises:
        UsageError: The variable is not a whole number above 0.
    """
    text = os.environ.get(LIMIT_VARIABLE) or str(DEFAULT_LIMIT_MIB)
    limit_mib = int(text) if text.isdecimal() else 0
    if limit_mib < 1:
        raise UsageError(
            f"{LIMIT_VARIABLE} is {text!r}, expected a whole number of MiB above 0.",
            hint=f"Unset it for {DEFAULT_LIMIT_MIB} MiB, or pass --no-cache.",
        )
    folder = home_dir() / "cache" / "resyntheses"
    return ResultCache(folder, limit_mib=limit_mib, precision=precision)
