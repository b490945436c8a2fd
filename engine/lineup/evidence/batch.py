"""Fingerprints of many files: decoding in threads overlaps inference, memory stays bounded.

One file that cannot be used is an answer of its own and never ends the run.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from lineup.errors import ImageError
from lineup.files import sha256_from_bytes
from lineup.imaging.decode import DecodeLimits, bytes_from_path, image_from_bytes
from lineup.types import Float32Array, RgbImage, RgbTiles

DEFAULT_BATCH = 8
DEFAULT_WORKERS = 4
DEFAULT_LIMITS = DecodeLimits()
ENOUGH_TILES = 64
"""A call of the model takes no further image from here on; bounds its memory for large images."""
NORM_TOLERANCE = 1e-3


class TileFingerprinter(Protocol):
    """What is needed of a fingerprint extractor (`lineup.evidence.fingerprint`)."""

    def tiles(self, pixels: RgbImage) -> RgbTiles:
        """Cut an image, (H, W, 3) uint8 RGB, into tiles, (T, S, S, 3)."""
        ...

    def fingerprints_from_tiles(self, tiles: Sequence[RgbTiles]) -> Float32Array:
        """Return one L2-normalised row per image, shape (images, dimension)."""
        ...

    def notes(self, pixels: RgbImage) -> tuple[str, ...]:
        """Return remarks on how far the fingerprint of this image can be trusted."""
        ...


@dataclass(frozen=True, slots=True)
class FingerprintedFile:
    """A file and its fingerprint.

    Attributes:
        path: The file, as it was given.
        sha256: Hex SHA-256 of the file's bytes.
        fingerprint: Shape (dimension,), float32, L2-normalised.
        notes: What the decoder did to the image, e.g. "first of 12 frames", then the
            extractor's remarks.
    """

    path: Path
    sha256: str
    fingerprint: Float32Array
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FailedFile:
    """A file without a fingerprint.

    Attributes:
        path: The file, as it was given.
        sha256: Hex SHA-256 of the file's bytes; None when they could not be read.
        error: Why there is no fingerprint.
    """

    path: Path
    sha256: str | None
    error: ImageError


@dataclass(frozen=True, slots=True)
class _TiledFile:
    path: Path
    sha256: str
    tiles: RgbTiles
    notes: tuple[str, ...]


def fingerprints_from_paths(
    paths: Iterable[Path],
    extractor: TileFingerprinter,
    *,
    batch: int = DEFAULT_BATCH,
    workers: int = DEFAULT_WORKERS,
    limits: DecodeLimits = DEFAULT_LIMITS,
) -> Iterator[FingerprintedFile | FailedFile]:
    """Yield one answer per path, in the order given.

    The extractor is used in the calling thread only. At most two batches of decoded tiles (plus
    one image per worker) are in memory at once.

    Args:
        paths: Image files; consumed lazily.
        extractor: Cuts tiles (called from several threads) and turns them into fingerprints.
        batch: Images per call of the model, at most; at least 1.
        workers: Decoding threads, at least 1.
        limits: Pixel and byte limits of the decoder.

    Raises:
        BackendError: The model failed; that is not the fault of one file.
    """
    remaining = iter(paths)
    pending: deque[Future[_TiledFile | FailedFile]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="lineup-decode") as pool:
        try:
            while True:
                for path in itertools.islice(remaining, 2 * batch - len(pending)):
                    pending.append(pool.submit(_tiled_file, path, extractor, limits))
                if not pending:
                    return
                yield from _fingerprinted(_next_batch(pending, batch), extractor)
        finally:
            for future in pending:
                future.cancel()


def _next_batch(
    pending: deque[Future[_TiledFile | FailedFile]], batch: int
) -> list[_TiledFile | FailedFile]:
    """Wait for the oldest files, until they fill a call of the model."""
    ready: list[_TiledFile | FailedFile] = []
    tiles = 0
    while pending and len(ready) < batch and tiles < ENOUGH_TILES:
        file = pending.popleft().result()
        ready.append(file)
        tiles += len(file.tiles) if isinstance(file, _TiledFile) else 0
    return ready


def _tiled_file(
    path: Path, extractor: TileFingerprinter, limits: DecodeLimits
) -> _TiledFile | FailedFile:
    """Read, hash, decode and cut one file."""
    sha256 = None
    try:
        data = bytes_from_path(path, limits=limits)
        sha256 = sha256_from_bytes(data)
        image = image_from_bytes(data, limits=limits)
        tiles = extractor.tiles(image.pixels)
    except ImageError as error:
        return FailedFile(path, sha256, error)
    return _TiledFile(path, sha256, tiles, (*image.notes, *extractor.notes(image.pixels)))


def _fingerprinted(
    ready: Sequence[_TiledFile | FailedFile], extractor: TileFingerprinter
) -> Iterator[FingerprintedFile | FailedFile]:
    """Run the model once over the files that could be decoded."""
    tiled = [file for file in ready if isinstance(file, _TiledFile)]
    rows = iter(extractor.fingerprints_from_tiles([file.tiles for file in tiled]) if tiled else ())
    for file in ready:
        yield file if isinstance(file, FailedFile) else _file_from_row(file, next(rows))


def _file_from_row(file: _TiledFile, row: Float32Array) -> FingerprintedFile | FailedFile:
    """Pair a file with the model's answer, if the answer is a fingerprint."""
    # "not <=" because a row with NaN has no norm to compare.
    if not abs(float(np.linalg.norm(row.astype(np.float64))) - 1.0) <= NORM_TOLERANCE:
        error = ImageError("The model gave no usable fingerprint for this image.")
        return FailedFile(file.path, file.sha256, error)
    return FingerprintedFile(file.path, file.sha256, row, file.notes)
