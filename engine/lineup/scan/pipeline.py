"""From paths to rows: reading and decoding in threads overlap the models in this one.

Images are answered in groups: what is in memory at once. A scan that is killed loses the group that
it was at.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from lineup.errors import BackendError, BundleError, UsageError
from lineup.options import AttributionOptions, ScanOptions
from lineup.query import Query
from lineup.results import EVIDENCE_NAMES, Attribution, RowError
from lineup.scan.ahead import Signal, prepared_in_order
from lineup.scan.budget import LookAhead
from lineup.scan.identity import Identities, unique_paths
from lineup.scan.meter import MainStage, ScanMeter
from lineup.scan.prepare import Prepared, Preparer, TileCutter

logger = logging.getLogger(__name__)


class AnsweringEngine(Protocol):
    """What a scan needs of the engine (`lineup.engine`)."""

    @property
    def extractor(self) -> TileCutter:
        """Cuts images into tiles; called from several threads."""
        ...

    def answer(self, queries: Sequence[Query], options: AttributionOptions) -> None:
        """Give each query its verdict; called from the scanning thread only."""
        ...

    def evidence_of(self, options: AttributionOptions) -> tuple[str, ...]:
        """Return the evidence that these options ask for."""
        ...

    def run_id(self, options: AttributionOptions) -> str:
        """Return what changes when the models, the gallery or the question do."""
        ...


def scan_rows(
    paths: Iterable[Path],
    engine: AnsweringEngine,
    question: AttributionOptions,
    options: ScanOptions,
    *,
    done: Identities | None = None,
    meter: ScanMeter | None = None,
) -> Iterator[Attribution]:
    """Attribute many images; yield one row each, in the order of the paths.

    Whatever is wrong with an image is told in its row; the scan goes on. Memory does not grow with
    the number of images (but for 16 bytes per path, to scan a path that is named twice once).
    Stop early by closing the iterator or just leaving it.

    Args:
        paths: Image files, consumed lazily on a thread of its own.
        engine: Used in the calling thread, but for cutting tiles.
        question: Which evidence, and how.
        options: How images are read and grouped.
        done: Images to leave out, because their rows exist already.
        meter: Counts images and time, if given.

    Raises:
        UsageError: The engine does not have the evidence, or the options do not fit it.
        BundleError: A bundle cannot be used.
        BackendError: A model failed on every image of a group of several.
    """
    meter = meter or ScanMeter(options.worker_count)
    meter.start()
    preparer = Preparer(
        engine.extractor,
        options.limits,
        run=engine.run_id(question),
        done=done or Identities(),
        size=options.look_ahead_bytes,
        # Fingerprints need tiles alone; what else looks at a query needs all of it.
        keep_pixels=set(engine.evidence_of(question)) != {EVIDENCE_NAMES[0]},
    )
    stream = prepared_in_order(
        unique_paths(paths),
        preparer.prepared_from_path,
        workers=options.worker_count,
        look_ahead=LookAhead(options.look_ahead_limit, options.look_ahead_bytes),
        stall_seconds=options.stall_seconds,
    )
    with closing(stream):
        for group in groups_from_stream(_counted(stream, meter), options):
            for row in rows_from_group(group, engine, question):
                meter.add_row(row)
                yield row


def groups_from_stream(
    stream: Iterable[Prepared | Signal], options: ScanOptions
) -> Iterator[list[Prepared]]:
    """Group images, in order; error rows ride along without counting.

    A group ends when the next image would exceed a limit, when nothing more is known for now
    (unless it waits), and right away when it holds error rows only.
    """
    group: list[Prepared] = []
    images = tiles = size_bytes = 0
    for item in stream:
        if not isinstance(item, Prepared):
            if group and item is Signal.STALLED and not options.waits_for_group:
                yield group
                group, images, tiles, size_bytes = [], 0, 0, 0
            continue
        more = 0 if item.tiles is None else len(item.tiles)
        is_over = size_bytes + item.held_bytes > options.group_bytes or (
            options.group_tiles is not None and tiles + more > options.group_tiles
        )
        if images and more and is_over:
            yield group
            group, images, tiles, size_bytes = [], 0, 0, 0
        group.append(item)
        images += more > 0
        tiles += more
        size_bytes += item.held_bytes
        if images in (0, options.group_images):
            yield group
            group, images, tiles, size_bytes = [], 0, 0, 0
    if group:
        yield group


def rows_from_group(
    group: Sequence[Prepared], engine: AnsweringEngine, question: AttributionOptions
) -> Iterator[Attribution]:
    """Answer a group and yield its rows, in order."""
    usable = [item for item in group if item.tiles is not None]
    rows = iter(_rows(usable, engine, question))
    for item in group:
        yield item.row if item.tiles is None else next(rows)


def _rows(
    usable: Sequence[Prepared], engine: AnsweringEngine, question: AttributionOptions
) -> list[Attribution]:
    """Answer images together; when that fails, each alone, so that only the culprit fails.

    Raises:
        BackendError: Every one of several failed: the model is at fault, a device that was lost
            say, and error rows would wrongly count these images as done.
    """
    if not usable:
        return []
    queries = [item.query() for item in usable]
    try:
        engine.answer(queries, question)
    except (UsageError, BundleError):  # no image's fault
        raise
    except Exception as error:
        if len(usable) == 1:
            logger.debug("%s failed in a model", usable[0].row.path, exc_info=True)
            return [replace(usable[0].row, error=RowError.from_exception(error))]
        logger.debug("a group of %d failed; one by one", len(usable), exc_info=True)
        rows = [row for item in usable for row in _rows([item], engine, question)]
        if all(row.error is not None for row in rows):
            raise BackendError(
                f"A model failed on {len(usable)} images in a row: {error}",
                hint="Rows so far are complete; mend the cause, then use --resume.",
            ) from error
        return rows
    return [query.attribution(item.row) for item, query in zip(usable, queries, strict=True)]


def _counted(stream: Iterator[Prepared | Signal], meter: ScanMeter) -> Iterator[Prepared | Signal]:
    """Pass the stream through; count skipped images and the time spent waiting for the next."""
    while True:
        with meter.timed(MainStage.WAIT):
            item = next(stream, None)
        if item is None:
            return
        if item is Signal.SKIPPED:
            meter.add_skipped()
        yield item
