"""What the reader threads do to one image: read, hash, decode, cut into tiles."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from lineup.files import sha256_from_bytes
from lineup.imaging.decode import DecodeLimits, bytes_from_path, encoded_from_bytes
from lineup.query import Query
from lineup.results import Attribution, RowError, StageTimes
from lineup.scan.budget import ByteBudget
from lineup.scan.identity import Identities
from lineup.types import RgbImage, RgbTiles

BYTES_PER_PIXEL = 6
"""While decoding: what the decoder returns, and its copy as upright 8-bit RGB."""


class TileCutter(Protocol):
    """What the readers need of a fingerprint extractor; called from several threads at once."""

    def tiles(self, pixels: RgbImage) -> RgbTiles:
        """Cut an image, (H, W, 3) uint8 RGB, into tiles, (T, S, S, 3)."""
        ...

    def notes(self, pixels: RgbImage) -> tuple[str, ...]:
        """Return remarks on how far the fingerprint of this image can be trusted."""
        ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """An image on its way to the model, or its finished error row.

    Attributes:
        row: Everything known so far; has an error exactly when `tiles` is None.
        tiles: Shape (T, S, S, 3), uint8 RGB.
        pixels: The whole image, shape (H, W, 3), uint8 RGB, where it is kept.
        trust_notes: Remarks for the fingerprint evidence.
    """

    row: Attribution
    tiles: RgbTiles | None = None
    trust_notes: tuple[str, ...] = ()
    pixels: RgbImage | None = None

    def query(self) -> Query:
        """Return the image on its way to an answer."""
        return Query(
            self.pixels, sha256=self.row.sha256, tiles=self.tiles, tile_notes=self.trust_notes
        )

    @property
    def held_bytes(self) -> int:
        """Memory of tiles and pixels."""
        return sum(one.nbytes for one in (self.tiles, self.pixels) if one is not None)


class Preparer:
    """Turns a path into a `Prepared`, on any thread; never raises on account of an image.

    Args:
        cutter: Cuts tiles.
        limits: Guards of the decoder.
        run: Identity of the run, for the rows.
        done: Rows that exist already.
        size: Bytes of files, and bytes of pixels, that all threads may hold together.
        keep_pixels: Whether images are kept whole beside their tiles.
    """

    def __init__(
        self,
        cutter: TileCutter,
        limits: DecodeLimits,
        run: str,
        done: Identities,
        size: int,
        *,
        keep_pixels: bool = False,
    ) -> None:
        self.files = ByteBudget(size)
        self.pixels = ByteBudget(size)
        self._cutter = cutter
        self._limits = limits
        self._run = run
        self._done = done
        self._keep_pixels = keep_pixels

    def prepared_from_path(self, path: Path) -> Prepared | None:
        """Read, hash, decode and cut one image; None when its row exists already.

        A thread that holds file bytes may wait for pixel bytes, never the other way round, so the
        two budgets cannot block each other.
        """
        with self.files.reserved(self._file_bytes(path)):
            watch = _Stopwatch()
            row, data = self._read(path)
            ms = StageTimes(read=watch.lap_ms())
            if self._done.holds(str(path), row.sha256):
                return None
            if data is None:
                return Prepared(replace(row, ms=ms))
            return self._decoded(replace(row, ms=ms), data)

    def _read(self, path: Path) -> tuple[Attribution, bytes | None]:
        row = Attribution(path=str(path), run=self._run)
        try:
            data = bytes_from_path(path, limits=self._limits)
        except Exception as error:
            return replace(row, error=RowError.from_exception(error)), None
        return replace(row, sha256=sha256_from_bytes(data), size_bytes=len(data)), data

    def _decoded(self, row: Attribution, data: bytes) -> Prepared:
        ms, watch = row.ms, _Stopwatch()
        try:
            encoded = encoded_from_bytes(data, limits=self._limits)
        except Exception as error:
            return Prepared(replace(row, error=RowError.from_exception(error)))
        header_ms = watch.lap_ms()
        with self.pixels.reserved(encoded.width_px * encoded.height_px * BYTES_PER_PIXEL):
            watch.lap_ms()  # waiting for memory is no work
            try:
                image = encoded.decoded()
                ms = replace(ms, decode=header_ms + watch.lap_ms())
                row = replace(
                    row,
                    format=image.format,
                    width_px=image.width_px,
                    height_px=image.height_px,
                    notes=image.notes,
                )
                tiles = _owned(self._cutter.tiles(image.pixels))
                trust_notes = self._cutter.notes(image.pixels)
            except Exception as error:
                return Prepared(replace(row, error=RowError.from_exception(error), ms=ms))
        ms = replace(ms, preprocess=watch.lap_ms())
        pixels = image.pixels if self._keep_pixels else None
        return Prepared(replace(row, ms=ms), tiles, trust_notes, pixels)

    def _file_bytes(self, path: Path) -> int:
        try:
            return min(path.stat().st_size, self._limits.max_bytes)
        except OSError:  # reading will say what is wrong
            return 0


def _owned(tiles: RgbTiles) -> RgbTiles:
    """Return tiles that do not keep the pixels of the whole image alive."""
    return tiles if tiles.base is None else tiles.copy()


class _Stopwatch:
    """Milliseconds between laps."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def lap_ms(self) -> float:
        now = time.perf_counter()
        elapsed_ms = (now - self._start) * 1e3
        self._start = now
        return elapsed_ms
