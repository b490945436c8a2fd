"""`lineup watch`: rows of a folder's images as they arrive."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import click

from lineup.cli.lineup_options import Question, question_from_choices, question_options
from lineup.cli.options import batch_option, engine_options
from lineup.cli.scan import STDOUT, format_option, output_option, row_format_from_names
from lineup.cli.tables import say

if TYPE_CHECKING:
    from lineup.scan.encoding import RowFormat
    from lineup.scan.output import Output


@click.command(short_help="Attribute images as they arrive in a folder.")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@output_option
@format_option
@click.option(
    "--settle",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Take a file for complete when it has not changed for so long.",
)
@question_options
@batch_option
@engine_options
def watch(
    *,
    folder: Path,
    output: str,
    format_name: str | None,
    settle: float,
    batch: int,
    **choices: Any,
) -> None:
    """Attribute the images of FOLDER: those in it, then each that arrives, one row each.

    Folders inside FOLDER are watched too. A file is looked at once it is complete, and again when
    its content changes: its last row counts. Started again with the same --output, images that have
    their row there are left out. It ends, cleanly, at Ctrl-C or SIGTERM.

    Exit code: 0 stopped, whatever was wrong with single images (their rows say), 2 wrong usage.
    """
    from lineup.scan.output import OutputMode, open_output
    from lineup.stream import StreamOptions

    question = question_from_choices(choices, scan=StreamOptions(group_images=batch))
    mode = OutputMode.CREATE if output == STDOUT else OutputMode.RESUME
    row_format = row_format_from_names(output, format_name)
    with (
        _stopped() as stop,
        open_output(output, mode, sys.stdout.buffer, row_format=row_format) as rows,
    ):
        count = _watch(folder, question, rows, row_format, stop, settle)
    say(f"stopped after {count} rows", err=True)


def _watch(
    folder: Path,
    question: Question,
    output: Output,
    row_format: RowFormat,
    stop: Event,
    settle_seconds: float,
) -> int:
    """Write rows until `stop` is set; return how many."""
    from lineup.scan.arrivals import arrivals
    from lineup.scan.encoding import encoder_from_format
    from lineup.scan.pipeline import scan_rows

    options, count = question.options, 0
    with question.open_engine() as engine:
        output.begin(
            encoder_from_format(row_format, engine.columns(options)), engine.run_id(options)
        )
        for paths in arrivals(folder, stop, settle_seconds=settle_seconds):
            for row in scan_rows(paths, engine, options, question.scan, done=output.done):
                assert row.path is not None
                if row.sha256 is None and not Path(row.path).exists():
                    continue  # taken away before it was read
                output.write(row)
                output.done.add(row.path, row.sha256)
                count += 1
                if stop.is_set():
                    return count
    return count


@contextmanager
def _stopped() -> Iterator[Event]:
    """Yield what the first SIGINT or SIGTERM sets; a second one does what it always does."""
    stop = Event()
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}

    def set_stop(*_: object) -> None:
        stop.set()
        restore()

    def restore() -> None:
        for one, handler in before.items():
            signal.signal(one, signal.SIG_DFL if handler is None else handler)

    for one in before:
        signal.signal(one, set_stop)
    try:
        yield stop
    finally:
        restore()
