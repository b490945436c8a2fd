"""Rows by all evidence of a lineup: chunks of images through one stage after the other.

A chunk is what is in memory at once: its images, and what their candidates draw. A scan that is
killed loses the chunk that it was at.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from lineup.attribution.cases import Query
from lineup.attribution.engine import Attribution
from lineup.attribution.options import AttributionOptions
from lineup.errors import BackendError, BundleError, UsageError
from lineup.scan.ahead import Signal
from lineup.scan.identity import Identities
from lineup.scan.meter import ScanMeter
from lineup.scan.options import ScanOptions
from lineup.scan.pipeline import prepared_stream
from lineup.scan.prepare import Prepared, TileCutter
from lineup.scan.rows import Row, row_error_from_exception

logger = logging.getLogger(__name__)

MOST_CHUNK_BYTES = 256 * 2**20
"""Most memory of the decoded images of a chunk; a larger image goes alone."""


class AttributingEngine(Protocol):
    """What a scan needs of a lineup's engine; called from the scanning thread only."""

    @property
    def cutter(self) -> TileCutter:
        """Cuts images into tiles; called from several threads."""
        ...

    def attributions(
        self,
        queries: Sequence[Query],
        *,
        options: AttributionOptions,
        may_add_candidates: bool,
    ) -> list[Attribution]:
        """Return the verdict on each image."""
        ...

    def run_id(self, options: AttributionOptions) -> str:
        """Return what changes when the models, the gallery or the question do."""
        ...


@dataclass(frozen=True, slots=True)
class ChunkLimits:
    """How many images are worked on together.

    Attributes:
        images: At most, at least 1.
        size_bytes: Of their pixels and tiles, at most, unless one image alone is larger.
    """

    images: int = 1
    size_bytes: int = MOST_CHUNK_BYTES


ONE_BY_ONE = ChunkLimits()


def lineup_rows(
    paths: Iterable[Path],
    engine: AttributingEngine,
    question: AttributionOptions,
    options: ScanOptions,
    *,
    chunk: ChunkLimits = ONE_BY_ONE,
    done: Identities | None = None,
    meter: ScanMeter | None = None,
) -> Iterator[Row]:
    """Attribute many images by a lineup; yield one row each, in the order of the paths.

    Whatever is wrong with an image is told in its row; the scan goes on.

    Args:
        paths: Image files, consumed lazily.
        engine: Used in the calling thread, but for cutting tiles.
        question: Which evidence, and how resyntheses are made.
        options: How images are read.
        chunk: How many images are worked on together.
        done: Images to leave out, because their rows exist already.
        meter: Counts images and time, if given.

    Raises:
        UsageError: The lineup does not have the evidence, or the options do not fit it.
        BundleError: A bundle cannot be used.
        BackendError: A model failed on every image of a chunk of several.
    """
    meter = meter or ScanMeter(options.worker_count)
    with prepared_stream(
        paths,
        engine.cutter,
        options,
        run=engine.run_id(question),
        done=done,
        meter=meter,
        keep_pixels=True,
    ) as stream:
        for batch in chunks_from_stream(stream, chunk):
            for row in rows_from_chunk(batch, engine, question):
                meter.add_row(row)
                yield row


def chunks_from_stream(
    stream: Iterable[Prepared | Signal], limits: ChunkLimits
) -> Iterator[list[Prepared]]:
    """Group images, in order; error rows ride along without counting.

    A chunk is not cut short when no path arrives for a moment: loading every model for a few
    images costs more than waiting.
    """
    chunk: list[Prepared] = []
    images = size_bytes = 0
    for item in stream:
        if not isinstance(item, Prepared):
            continue
        is_image = item.pixels is not None
        if is_image and images and size_bytes + item.held_bytes > limits.size_bytes:
            yield chunk
            chunk, images, size_bytes = [], 0, 0
        chunk.append(item)
        images += is_image
        size_bytes += item.held_bytes
        if images in (0, limits.images):
            yield chunk
            chunk, images, size_bytes = [], 0, 0
    if chunk:
        yield chunk


def rows_from_chunk(
    chunk: Sequence[Prepared], engine: AttributingEngine, question: AttributionOptions
) -> Iterator[Row]:
    """Attribute a chunk and yield its rows, in order."""
    usable = [item for item in chunk if item.pixels is not None]
    rows = iter(_rows(usable, engine, question))
    for item in chunk:
        yield item.row if item.pixels is None else next(rows)


def _rows(
    usable: Sequence[Prepared], engine: AttributingEngine, question: AttributionOptions
) -> list[Row]:
    """Attribute images together; when that fails, each alone, so that only the culprit fails.

    Raises:
        BackendError: Every one of several failed: the model is at fault, and error rows would
            wrongly count these images as done.
    """
    queries = [
        Query(item.pixels, item.row.sha256, item.tiles)
        for item in usable
        if item.pixels is not None
    ]
    if not queries:
        return []
    try:
        answers = engine.attributions(queries, options=question, may_add_candidates=False)
    except (UsageError, BundleError):  # no image's fault
        raise
    except Exception as error:
        if len(usable) == 1:
            logger.debug("%s failed in a model", usable[0].row.path, exc_info=True)
            return [replace(usable[0].row, error=row_error_from_exception(error))]
        logger.debug("a chunk of %d failed; one by one", len(usable), exc_info=True)
        rows = [row for item in usable for row in _rows([item], engine, question)]
        if all(row.error is not None for row in rows):
            raise BackendError(
                f"A model failed on {len(usable)} images in a row: {error}",
                hint="Rows so far are complete; mend the cause, then use --resume.",
            ) from error
        return rows
    return [_row(item.row, answer) for item, answer in zip(usable, answers, strict=True)]


def _row(row: Row, answer: Attribution) -> Row:
    ms = replace(row.ms, inference=answer.inference_ms, fuse=answer.fuse_ms)
    return replace(row, verdict=answer.verdict, ms=ms)
