"""From paths to rows: reading and decoding in threads overlap the model in this one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from lineup.scan.ahead import Signal, prepared_in_order
from lineup.scan.batches import ScanEngine, batches_from_stream, rows_from_batch
from lineup.scan.budget import LookAhead
from lineup.scan.identity import Identities, unique_paths
from lineup.scan.meter import MainStage, ScanMeter
from lineup.scan.options import ScanOptions
from lineup.scan.prepare import Prepared, Preparer, TileCutter
from lineup.scan.rows import Row

DEFAULT_OPTIONS = ScanOptions()


def scan_rows(
    paths: Iterable[Path],
    engine: ScanEngine,
    options: ScanOptions = DEFAULT_OPTIONS,
    *,
    done: Identities | None = None,
    meter: ScanMeter | None = None,
) -> Iterator[Row]:
    """Attribute many images; yield one row each, in the order of the paths.

    Whatever is wrong with an image is told in its row; the scan goes on. Memory does not grow with
    the number of images (but for 16 bytes per path, to scan a path that is named twice once).
    Stop early by closing the iterator or just leaving it.

    Args:
        paths: Image files, consumed lazily on a thread of its own; `find_images` walks folders.
        engine: Used in the calling thread, but for cutting tiles.
        options: See `ScanOptions`.
        done: Images to leave out, because their rows exist already.
        meter: Counts images and time, if given.

    Example:
        >>> with open_engine() as engine:
        ...     for row in scan_rows(find_images(["photos"]), engine):
        ...         print(row.path, row.verdict.label if row.verdict else row.error.message)
    """
    meter = meter or ScanMeter(options.worker_count)
    run = engine.run_id(options.evidence)
    with prepared_stream(
        paths, engine.extractor, options, run=run, done=done, meter=meter
    ) as stream:
        batches = batches_from_stream(
            stream, max_images=options.batch, max_tiles=options.max_batch_tiles
        )
        for batch in batches:
            for row in rows_from_batch(batch, engine):
                meter.add_row(row)
                yield row


@contextmanager
def prepared_stream(
    paths: Iterable[Path],
    cutter: TileCutter,
    options: ScanOptions,
    *,
    run: str,
    done: Identities | None,
    meter: ScanMeter,
    keep_pixels: bool = False,
) -> Iterator[Iterator[Prepared | Signal]]:
    """Read and decode images on threads of their own, as long as the block lasts.

    Args:
        paths: Image files, consumed lazily.
        cutter: Cuts tiles; called from several threads.
        options: How images are read.
        run: Identity of the run, for the rows.
        done: Images to leave out, because their rows exist already.
        meter: Starts; counts skipped images and time.
        keep_pixels: Whether images are kept whole beside their tiles.
    """
    meter.start()
    preparer = Preparer(
        cutter,
        options.limits,
        run=run,
        done=done or Identities(),
        size=options.look_ahead_bytes,
        keep_pixels=keep_pixels,
    )
    stream = prepared_in_order(
        unique_paths(paths),
        preparer.prepared_from_path,
        workers=options.worker_count,
        look_ahead=LookAhead(options.look_ahead_limit, options.look_ahead_bytes),
        stall_seconds=options.stall_seconds,
    )
    with closing(stream):
        yield _counted(stream, meter)


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
