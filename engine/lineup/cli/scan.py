"""`lineup scan`: many images in, one row per image out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineup.cli.options import device_option, fingerprint_option, gallery_option, threads_option
from lineup.cli.scan_lineup import (
    SCAN_CHOICES,
    asks_for_lineup,
    lineup_scan,
    scan_lineup_options,
)
from lineup.errors import UsageError

if TYPE_CHECKING:
    from lineup.scan.encoding import RowFormat
    from lineup.scan.inputs import ScanInputs
    from lineup.scan.meter import ScanMeter
    from lineup.scan.options import ScanOptions
    from lineup.scan.output import OutputMode

STDOUT = "-"
SOME_FAILED = 1
INTERRUPTED = 130  # 128 + SIGINT, as shells report it
READER_GONE = 141  # 128 + SIGPIPE


@click.command(short_help="Attribute many images, one row each.")
@click.argument("paths", nargs=-1, metavar="PATH...")
@click.option(
    "--from-file",
    metavar="LIST",
    help="Also scan the paths in this file, one per line; '-' is standard input.",
)
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    default=STDOUT,
    show_default="standard output",
    help="Where the rows go.",
)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["jsonl", "csv"]),
    help="Format of the rows.  [default: csv for FILE.csv, else jsonl]",
)
@click.option("--resume", is_flag=True, help="Continue FILE: leave out images with a row in it.")
@click.option("--overwrite", is_flag=True, help="Replace FILE.")
@click.option(
    "--evidence",
    metavar="NAME[,NAME]",
    default="fingerprint",
    show_default=True,
    help="fingerprint, resynthesis (features and fingerprints of redrawn images).",
)
@scan_lineup_options
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Images per call of the model.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    show_default="cores, at most 4",
    help="Threads that read and decode.",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    help="Refuse larger images.  [default: 150 million]",
)
@click.option("--verbose", "-v", is_flag=True, help="Show where the time went.")
@device_option
@threads_option
@fingerprint_option
@gallery_option
def scan(**given: Any) -> None:
    """Attribute many images: one row per image, whatever is wrong with it.

    PATH is an image, a folder (searched through), a glob, or '-' for a list of paths on standard
    input. Rows come in that order, each written as it is made, so that a scan that was stopped can
    go on with --resume. Progress is on standard error, if that is a terminal.

    Fingerprints of the gallery alone are the default, and fast. With --lineup, or with resynthesis
    as evidence, rows are by the evidence of a lineup: all that was named for every image, unless
    --cascade or --latency-budget leaves some out, which the row then says. A scan by --order
    stage-major that is stopped repeats the images that it was at, up to 64.

    Exit code: 0 every image has a verdict, 1 some failed (their rows say why), 2 wrong usage,
    130 interrupted, 141 nobody reads standard output any more.
    """
    choices = {name: given.pop(name) for name in SCAN_CHOICES}
    code = _exit_code(_Request(**given, choices=choices))
    if code:
        sys.exit(code)


@dataclass(frozen=True, slots=True)
class _Request:
    """The command line, named and typed."""

    paths: tuple[str, ...]
    from_file: str | None
    output: str
    format_name: str | None
    resume: bool
    overwrite: bool
    evidence: str
    batch: int
    workers: int | None
    max_pixels: int | None
    verbose: bool
    device: str
    threads: int
    fingerprint: str | None
    gallery: Path | None
    choices: Mapping[str, Any]

    def inputs(self) -> ScanInputs:
        from lineup.scan.inputs import ScanInputs

        output = None if self.output == STDOUT else Path(self.output)
        return ScanInputs(self.paths, self.from_file, sys.stdin.buffer, output)

    def options(self) -> ScanOptions:
        from lineup.imaging.decode import DecodeLimits
        from lineup.scan.options import ScanOptions

        limits = (
            DecodeLimits() if self.max_pixels is None else DecodeLimits(max_pixels=self.max_pixels)
        )
        options = ScanOptions(batch=self.batch, workers=self.workers, limits=limits)
        if asks_for_lineup(self.evidence, self.choices):
            return options
        evidence = tuple(name.strip() for name in self.evidence.split(","))
        return replace(options, evidence=evidence)

    def row_format(self) -> RowFormat:
        from lineup.scan.encoding import RowFormat

        if self.format_name is not None:
            return RowFormat(self.format_name)
        return RowFormat.CSV if self.output.lower().endswith(".csv") else RowFormat.JSONL

    def mode(self) -> OutputMode:
        from lineup.scan.output import OutputMode

        if self.resume and self.overwrite:
            raise UsageError("--resume and --overwrite exclude each other.", hint="Drop one.")
        if self.resume:
            return OutputMode.RESUME
        return OutputMode.OVERWRITE if self.overwrite else OutputMode.CREATE


def _exit_code(request: _Request) -> int:
    """Scan; return 0 or one of the codes above."""
    from lineup.scan.meter import ScanMeter

    inputs, options = request.inputs(), request.options()
    meter = ScanMeter(options.worker_count)
    try:
        failed_before = _scan(request, inputs, options, meter)
    except KeyboardInterrupt:
        hint = "" if request.output == STDOUT else "; run again with --resume"
        click.echo(f"interrupted after {meter.images} rows{hint}", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes standard output when it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    _show_summary(meter, is_verbose=request.verbose)
    if meter.images + meter.skipped == 0:
        raise UsageError(
            f"No images in {', '.join(request.paths) or request.from_file}.",
            hint="Folders are searched for files with the suffix of an image format; a file that "
            "is named itself is always tried.",
        )
    return SOME_FAILED if meter.failed or failed_before else 0


def _scan(request: _Request, inputs: ScanInputs, options: ScanOptions, meter: ScanMeter) -> int:
    """Scan; return how many rows with an error the output held before."""
    if asks_for_lineup(request.evidence, request.choices):
        return _scan_by_lineup(request, inputs, options, meter)
    from lineup.scan.output import open_output
    from lineup.scan.run import scan_to_output

    row_format = request.row_format()
    with open_output(request.output, request.mode(), row_format, sys.stdout.buffer) as output:
        # Loaded last: a mistake above should not cost the time to load a model.
        from lineup.engine import open_engine

        with (
            open_engine(
                device=request.device,
                threads=request.threads,
                fingerprint=request.fingerprint,
                gallery=request.gallery,
            ) as engine,
            _progress(request, inputs, meter) as on_progress,
        ):
            scan_to_output(
                inputs.images(),
                engine,
                output,
                row_format=row_format,
                options=options,
                meter=meter,
                on_progress=on_progress,
            )
        return output.failed_before


def _scan_by_lineup(
    request: _Request, inputs: ScanInputs, options: ScanOptions, meter: ScanMeter
) -> int:
    """Scan by the evidence of a lineup; returns what `_scan` does."""
    from lineup.scan.output import open_output

    row_format = request.row_format()
    planned = lineup_scan(request.evidence, options, request.choices)
    with open_output(request.output, request.mode(), row_format, sys.stdout.buffer) as output:
        from lineup.attribution.opening import open_lineup_engine

        with open_lineup_engine(
            planned.lineup,
            evidence=planned.question.evidence,
            device=request.device,
            threads=request.threads,
            fingerprint=request.fingerprint,
            gallery=request.gallery,
            cache=not request.choices["no_cache"],
            keep_models=planned.keeps_models,
        ) as engine:
            progress = _progress(request, inputs, meter)
            planned.write(inputs, output, row_format, engine, meter, progress)
        return output.failed_before


def _progress(
    request: _Request, inputs: ScanInputs, meter: ScanMeter
) -> AbstractContextManager[Callable[[], None] | None]:
    """Return a progress bar, if somebody can see it and rows do not run over the same screen."""
    if not sys.stderr.isatty() or (request.output == STDOUT and sys.stdout.isatty()):
        return nullcontext()
    from lineup.scan.progress import scan_progress

    return scan_progress(meter, inputs.images() if inputs.can_list_twice else None)


def _show_summary(meter: ScanMeter, *, is_verbose: bool) -> None:
    from lineup.scan.meter import line_from_summary, table_from_summary

    summary = meter.summary()
    if is_verbose:
        click.echo(table_from_summary(summary), err=True)
    if is_verbose or sys.stderr.isatty():
        click.echo(line_from_summary(summary), err=True)
