"""Batches for the model, and the model's answers as rows."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from lineup.errors import BackendError
from lineup.evidence.batch import Signals
from lineup.results import Verdict
from lineup.scan.ahead import Signal
from lineup.scan.prepare import Prepared, TileCutter
from lineup.scan.rows import Row, RowError, row_error_from_exception
from lineup.types import Float32Array, RgbTiles

logger = logging.getLogger(__name__)


class TileFingerprinter(TileCutter, Protocol):
    """What a scan needs of a fingerprint extractor."""

    @property
    def dimension(self) -> int:
        """Length of a fingerprint."""
        ...

    @property
    def tells_real(self) -> bool:
        """Whether it also tells photographs from generated images."""
        ...

    def signals_from_tiles(self, tiles: Sequence[RgbTiles]) -> Signals:
        """Return everything it says about each image."""
        ...


class ScanEngine(Protocol):
    """What a scan needs of the engine; called from the scanning thread only."""

    @property
    def extractor(self) -> TileFingerprinter:
        """The model."""
        ...

    def verdicts(
        self,
        fingerprints: Float32Array,
        *,
        real_llrs: Float32Array | None,
        notes: Sequence[tuple[str, ...]],
        costs_ms: Sequence[float],
    ) -> list[Verdict]:
        """Return one verdict per fingerprint; remarks and cost of each go into its evidence."""
        ...

    def run_id(self, evidence: Sequence[str]) -> str:
        """Return 12 hex digits over fingerprint bundle, gallery and evidence names."""
        ...


@dataclass(frozen=True, slots=True)
class _Answer:
    """The model's answer about one image, with its share of the time."""

    verdict: Verdict | None
    error: RowError | None
    inference_ms: float
    fuse_ms: float | None


def batches_from_stream(
    stream: Iterable[Prepared | Signal], *, max_images: int, max_tiles: int
) -> Iterator[list[Prepared]]:
    """Group images for the model, in order; error rows ride along without counting.

    A batch ends when the next image would exceed a limit, when nothing more is known for now, and
    right away when it holds error rows only. An image with more than `max_tiles` goes alone.
    """
    batch: list[Prepared] = []
    images = tiles = 0
    for item in stream:
        size = len(item.tiles) if isinstance(item, Prepared) and item.tiles is not None else 0
        is_over = size > 0 and images > 0 and (images == max_images or tiles + size > max_tiles)
        if batch and (item is Signal.STALLED or is_over):
            yield batch
            batch, images, tiles = [], 0, 0
        if isinstance(item, Prepared):
            batch.append(item)
            images += size > 0
            tiles += size
        if batch and (images in (0, max_images)):
            yield batch
            batch, images, tiles = [], 0, 0
    if batch:
        yield batch


def rows_from_batch(batch: Sequence[Prepared], engine: ScanEngine) -> Iterator[Row]:
    """Run the model over a batch and yield its rows, in order."""
    usable = [item for item in batch if item.tiles is not None]
    answers = iter(_answers(usable, engine))
    for item in batch:
        if item.tiles is None:
            yield item.row
            continue
        answer = next(answers)
        yield replace(
            item.row,
            verdict=answer.verdict,
            error=answer.error,
            ms=replace(item.row.ms, inference=answer.inference_ms, fuse=answer.fuse_ms),
        )


def _answers(usable: Sequence[Prepared], engine: ScanEngine) -> list[_Answer]:
    """Answer a batch; when that fails, every image alone, so that only the culprit fails.

    Raises:
        BackendError: Every image of a batch failed: the model is at fault, a device that was lost
            say, and error rows would wrongly count these images as done.
    """
    if not usable:
        return []
    started = time.perf_counter()
    try:
        return _answers_at_once(usable, engine)
    except Exception as error:
        if len(usable) > 1:
            logger.debug("a batch of %d failed; one by one", len(usable), exc_info=True)
            answers = [answer for item in usable for answer in _answers([item], engine)]
            if all(answer.error is not None for answer in answers):
                raise BackendError(
                    f"The model failed on {len(usable)} images in a row: {error}",
                    hint="Rows so far are complete; mend the cause, then use --resume.",
                ) from error
            return answers
        logger.debug("%s failed in the model", usable[0].row.path, exc_info=True)
        elapsed_ms = (time.perf_counter() - started) * 1e3
        return [_Answer(None, row_error_from_exception(error), elapsed_ms, None)]


def _answers_at_once(usable: Sequence[Prepared], engine: ScanEngine) -> list[_Answer]:
    tiles = [item.tiles for item in usable if item.tiles is not None]
    started = time.perf_counter()
    signals = engine.extractor.signals_from_tiles(tiles)
    fingerprints = signals.fingerprints
    inferred = time.perf_counter()
    if fingerprints.shape[0] != len(usable) or not np.isfinite(fingerprints).all():
        raise BackendError(
            f"The model returned an array of shape {fingerprints.shape} for {len(usable)} images, "
            "expected one row of finite numbers per image."
        )
    tile_ms = (inferred - started) * 1e3 / sum(len(image) for image in tiles)
    inference_ms = [tile_ms * len(image) for image in tiles]
    verdicts = engine.verdicts(
        fingerprints,
        real_llrs=signals.real_llrs,
        notes=[item.trust_notes for item in usable],
        costs_ms=inference_ms,
    )
    fuse_ms = (time.perf_counter() - inferred) * 1e3 / len(usable)
    return [
        _Answer(verdict, None, image_ms, fuse_ms)
        for verdict, image_ms in zip(verdicts, inference_ms, strict=True)
    ]
