"""A whole scan: rows from the pipeline into an output that was opened before."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from lineup.scan.batches import ScanEngine
from lineup.scan.csv_table import CsvEncoder, columns_from_engine
from lineup.scan.encoding import RowEncoder, RowFormat
from lineup.scan.jsonl import JsonlEncoder
from lineup.scan.meter import MainStage, ScanMeter
from lineup.scan.options import ScanOptions
from lineup.scan.output import Output
from lineup.scan.pipeline import scan_rows
from lineup.scan.rows import Row


def encoder_from_format(row_format: RowFormat, engine: ScanEngine) -> RowEncoder:
    """Return the encoder of rows that this engine makes."""
    if row_format is RowFormat.CSV:
        return CsvEncoder(columns_from_engine(engine))
    return JsonlEncoder()


def scan_to_output(
    paths: Iterable[Path],
    engine: ScanEngine,
    output: Output,
    *,
    row_format: RowFormat,
    options: ScanOptions,
    meter: ScanMeter,
    on_progress: Callable[[], None] | None = None,
) -> None:
    """Scan into an output; every row is written as it is made.

    Args:
        paths: See `scan_rows`.
        engine: See `scan_rows`.
        output: Opened, not begun.
        row_format: How the output's rows are written.
        options: See `ScanOptions`.
        meter: Tells how far the scan is, and its summary, also after an exception.
        on_progress: Called after every row.

    Raises:
        LineupError: The output cannot be resumed or written.
        BrokenPipeError: The output is a stream that nobody reads any more.
    """
    output.begin(encoder_from_format(row_format, engine), engine.run_id(options.evidence))
    rows = scan_rows(paths, engine, options, done=output.done, meter=meter)
    write_rows(rows, output, meter, on_progress)


def write_rows(
    rows: Iterable[Row],
    output: Output,
    meter: ScanMeter,
    on_progress: Callable[[], None] | None = None,
) -> None:
    """Write rows as they come into an output that was begun.

    Raises:
        LineupError: The output cannot be written.
        BrokenPipeError: The output is a stream that nobody reads any more.
    """
    for row in rows:
        with meter.timed(MainStage.WRITE):
            output.write(row)
        if on_progress is not None:
            on_progress()
