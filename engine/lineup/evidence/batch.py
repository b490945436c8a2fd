"""Fingerprints of many files: decoding in threads overlaps inference, memory stays bounded.

One file that cannot be used is an answer of its own and never ends the run.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
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


class TileCutter(Protocol):
    """What an image becomes before the model (`lineup.fingerprint`)."""

    def tiles(self, pixels: RgbImage) -> RgbTiles:
        """Cut an image, (H, W, 3) uint8 RGB, into tiles, (T, S, S, 3)."""
        ...

    def notes(self, pixels: RgbImage) -> tuple[str, ...]:
        """Return remarks on how far the model's answer about this image can be trusted."""
        ...


class TileFingerprinter(TileCutter, Protocol):
    """What is needed of a fingerprint extractor (`lineup.fingerprint`)."""

    def fingerprints_from_tiles(self, tiles: Sequence[RgbTiles]) -> Float32Array:
        """Return one L2-normalised row per image, shape (images, dimension)."""
        ...


RowFunction = Callable[[Sequence[RgbTiles]], Float32Array]
"""Tiles of images to one row (or number) each, shape (images, ...)."""


@dataclass(frozen=True, slots=True)
class AnsweredFile:
    """A file and the model's answer.

    Attributes:
        path: The file, as it was given.
        sha256: Hex SHA-256 of the file's bytes.
        row: The answer, float32.
        notes: What the decoder did to the image, e.g. "first of 12 frames", then the
            extractor's remarks.
    """

    path: Path
    sha256: str
    row: Float32Array
    notes: tuple[str, ...]


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

    Args:
        paths: Image files; consumed lazily.
        extractor: Cuts tiles (called from several threads) and turns them into fingerprints.
        batch: Images per call of the model, at most; at least 1.
        workers: Decoding threads, at least 1.
        limits: Pixel and byte limits of the decoder.

    Raises:
        BackendError: The model failed; that is not the fault of one file.
    """
    compute = extractor.fingerprints_from_tiles
    for file in rows_from_paths(
        paths, extractor, compute, batch=batch, workers=workers, limits=limits
    ):
        yield file if isinstance(file, FailedFile) else _fingerprinted(file)


def rows_from_paths(
    paths: Iterable[Path],
    cutter: TileCutter,
    compute: RowFunction,
    *,
    batch: int = DEFAULT_BATCH,
    workers: int = DEFAULT_WORKERS,
    limits: DecodeLimits = DEFAULT_LIMITS,
) -> Iterator[AnsweredFile | FailedFile]:
    """Yield the model's answer per path, in the order given.

    At most two batches of decoded tiles (plus one image per worker) are in memory at once.

    Args:
        paths: Image files; consumed lazily.
        cutter: Cuts tiles; called from several threads.
        compute: The model; called in the calling thread only.
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
                    pending.append(pool.submit(_tiled_file, path, cutter, limits))
                if not pending:
                    return
                yield from _answered(_next_batch(pending, batch), compute)
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


def _tiled_file(path: Path, cutter: TileCutter, limits: DecodeLimits) -> _TiledFile | FailedFile:
    """Read, hash, decode and cut one file."""
    sha256 = None
    try:
        data = bytes_from_path(path, limits=limits)
        sha256 = sha256_from_bytes(data)
        image = image_from_bytes(data, limits=limits)
        tiles = cutter.tiles(image.pixels)
    except ImageError as error:
        return FailedFile(path, sha256, error)
    return _TiledFile(path, sha256, tiles, (*image.notes, *cutter.notes(image.pixels)))


def _answered(
    ready: Sequence[_TiledFile | FailedFile], compute: RowFunction
) -> Iterator[AnsweredFile | FailedFile]:
    """Run the model once over the files that could be decoded."""
    tiled = [file for file in ready if isinstance(file, _TiledFile)]
    rows = iter(compute([file.tiles for file in tiled]) if tiled else ())
    for file in ready:
        if isinstance(file, FailedFile):
            yield file
        else:
            yield AnsweredFile(file.path, file.sha256, next(rows), file.notes)


def _fingerprinted(file: AnsweredFile) -> FingerprintedFile | FailedFile:
    """Return the model's answer as a fingerprint, if it is one."""
    # "not <=" because a row with NaN has no norm to compare.
    if not abs(float(np.linalg.norm(file.row.astype(np.float64))) - 1.0) <= NORM_TOLERANCE:
        error = ImageError("The model gave no usable fingerprint for this image.")
        return FailedFile(file.path, file.sha256, error)
    return FingerprintedFile(file.path, file.sha256, file.row, file.notes)
