"""`lineup scan`: many images in, one row per image out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineup.cli.lineup_options import Question, question_from_choices, question_options
from lineup.cli.options import batch_option, engine_options
from lineup.cli.progress import SOME_FAILED, no_images, scan_progress
from lineup.cli.streams import INTERRUPTED
from lineup.cli.tables import say
from lineup.errors import UsageError

if TYPE_CHECKING:
    from lineup.finding import NamedImages
    from lineup.scan.encoding import RowFormat
    from lineup.scan.meter import ScanMeter
    from lineup.scan.output import Output

STDOUT = "-"
THIS_MACHINE = "local"
"""Of Ray: a cluster that is started, and ends with the scan."""

FORMAT_FROM_SUFFIX = {
    ".csv": "csv",
    ".json": "jsonl",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
FOREIGN_SUFFIXES = (".xlsx", ".xls", ".feather", ".arrow", ".html", ".pdf")
"""Names that promise another format than rows are written in."""


output_option = click.option(
    "--output",
    "-o",
    metavar="FILE",
    default=STDOUT,
    show_default="standard output",
    help="Where the rows go.",
)
format_option = click.option(
    "--format",
    "format_name",
    type=click.Choice(["jsonl", "csv", "parquet"]),
    help="Format of the rows.  [default: as FILE ends, else jsonl]",
)


@click.command(short_help="Attribute many images, one row each.")
@click.argument("paths", nargs=-1, metavar="PATH...")
@click.option(
    "--from-file",
    metavar="LIST",
    help="Also scan the paths in this file, one per line; '-' is standard input.",
)
@output_option
@format_option
@click.option("--resume", is_flag=True, help="Continue FILE: leave out images with a row in it.")
@click.option(
    "--retry-failed/--no-retry-failed",
    default=True,
    show_default=True,
    help="With --resume, try images again whose row holds an error.",
)
@click.option("--overwrite", is_flag=True, help="Replace FILE, if it holds rows.")
@question_options
@click.option(
    "--order",
    type=click.Choice(["image-major", "stage-major"]),
    help="Finish image by image with all models loaded, or pass many images through one model "
    "after the other; the rows are the same.  [default: as the memory budget asks]",
)
@batch_option
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
@click.option(
    "--ray",
    "ray_address",
    metavar="[ADDRESS]",
    is_flag=False,
    flag_value=THIS_MACHINE,
    help="Scan with a Ray cluster: --ray=HOST:PORT or --ray=auto; alone, with one process per core "
    "of this machine. Rows come in no order; PATH may be a URI such as s3://bucket/folder.",
)
@click.option("--verbose", "-v", is_flag=True, help="Show where the time went.")
@engine_options
def scan(
    *,
    paths: tuple[str, ...],
    from_file: str | None,
    output: str,
    format_name: str | None,
    resume: bool,
    retry_failed: bool,
    overwrite: bool,
    batch: int,
    workers: int | None,
    max_pixels: int | None,
    ray_address: str | None,
    verbose: bool,
    **choices: Any,
) -> None:
    """Attribute many images: one row per image, whatever is wrong with it.

    PATH is an image, a folder (searched through), a glob, or '-' for a list of paths on standard
    input. Rows come in that order, each written as it is made, so that a scan that was stopped can
    go on with --resume. Progress is on standard error, if that is a terminal.

    The gallery's fingerprints are the default, and fast. With --lineup, or with resynthesis as
    evidence, rows are by the evidence of a lineup: all of it for every image, unless --cascade or
    --latency-budget leaves some out, which the row then says. A scan by --order stage-major that is
    stopped repeats the images that it was at, up to 64.

    Exit code: 0 every image has a verdict, 1 some failed (their rows say why), 2 wrong usage,
    130 interrupted, 141 nobody reads standard output any more.
    """
    from lineup.finding import NamedImages
    from lineup.imaging.header import DecodeLimits
    from lineup.scan.encoding import RowFormat
    from lineup.scan.meter import ScanMeter, line_from_summary
    from lineup.scan.output import OutputMode, open_output
    from lineup.stream import StreamOptions

    inputs = NamedImages(
        paths, from_file, sys.stdin.buffer, None if output == STDOUT else Path(output)
    )
    limits = DecodeLimits() if max_pixels is None else DecodeLimits(max_pixels=max_pixels)
    reading = StreamOptions(group_images=batch, workers=workers, limits=limits)
    question = question_from_choices(choices, scan=reading)
    row_format = row_format_from_names(output, format_name)
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other.", hint="Drop one.")
    mode = OutputMode("resume" if resume else "overwrite" if overwrite else "create")
    meter = ScanMeter(reading.worker_count)
    if ray_address is not None and row_format is RowFormat.CSV:
        raise UsageError("A cluster's rows are no CSV.", hint="Name a .jsonl or .parquet file.")
    try:
        with open_output(
            output,
            mode,
            sys.stdout.buffer,
            row_format=row_format,
            retries_failed=retry_failed,
        ) as rows:
            if ray_address is None:
                _scan(inputs, question, meter, rows, row_format, output)
            else:
                _scan_with_ray(ray_address, inputs, question, meter, rows)
            failed_before = rows.failed_before
    except KeyboardInterrupt:
        hint = "" if output == STDOUT else "; run again with --resume"
        say(f"interrupted after {meter.images} rows{hint}", err=True)
        sys.exit(INTERRUPTED)
    some_failed = meter.failed or failed_before
    if verbose and ray_address is None:  # a cluster's stages are in its rows
        _show_stages(meter)
    if verbose or some_failed or sys.stderr.isatty():
        say(line_from_summary(meter.summary()), err=True)
    if meter.images + meter.skipped == 0:
        raise no_images(paths or (str(from_file),))
    if some_failed:
        sys.exit(SOME_FAILED)


def row_format_from_names(output: str, format_name: str | None) -> RowFormat:
    """Return the format that is named, or that the file's name means."""
    from lineup.finding import IMAGE_SUFFIXES
    from lineup.scan.encoding import RowFormat

    suffix = Path(output).suffix.lower()
    if format_name is None and (suffix in FOREIGN_SUFFIXES or suffix in IMAGE_SUFFIXES):
        raise UsageError(
            f"Rows are not written as {suffix[1:]}: {output}.",
            hint="Name a file that ends in .jsonl, .csv or .parquet, or say --format.",
        )
    return RowFormat(format_name or FORMAT_FROM_SUFFIX.get(suffix, "jsonl"))


def _scan(
    inputs: NamedImages,
    question: Question,
    meter: ScanMeter,
    output: Output,
    row_format: RowFormat,
    target: str,
) -> None:
    """Write the rows of a scan to an output, opened at `target`."""
    from lineup.scan.encoding import encoder_from_format
    from lineup.scan.meter import MainStage
    from lineup.scan.pipeline import scan_rows

    options = question.options
    with (
        # Loaded last: a mistake above should not cost the time to load a model.
        question.open_engine() as engine,
        _progress(inputs, meter, target) as on_progress,
    ):
        output.begin(
            encoder_from_format(row_format, engine.columns(options)), engine.run_id(options)
        )
        for row in scan_rows(
            inputs.images(), engine, options, question.scan, done=output.done, meter=meter
        ):
            with meter.timed(MainStage.WRITE):
                output.write(row)
            on_progress()


def _scan_with_ray(
    address: str,
    inputs: NamedImages,
    question: Question,
    meter: ScanMeter,
    output: Output,
) -> None:
    """Write the rows of a scan by the Ray cluster at an address."""
    from lineup.ray.dataset import asked_from_engine
    from lineup.ray.scan import Files, cluster, cluster_records
    from lineup.scan.encoding import JsonlEncoder, line_from_record

    files = Files(inputs)
    with cluster(address):
        meter.start()
        asked = asked_from_engine(question.lineup, question.engine, question.options, question.scan)
        output.begin(JsonlEncoder(), asked.run)
        for record in cluster_records(files, asked, output.done):
            output.write_line(record["path"], line_from_record(record))
            meter.images += 1
            meter.failed += record["error"] is not None
        meter.skipped = files.count - meter.images


def _progress(
    inputs: NamedImages, meter: ScanMeter, target: str
) -> AbstractContextManager[Callable[[], None]]:
    """Return a progress bar, if somebody can see it and rows do not run over the same screen."""
    if not sys.stderr.isatty() or (target == STDOUT and sys.stdout.isatty()):
        return nullcontext(lambda: None)
    return scan_progress(meter, inputs.images() if inputs.can_list_twice else None)


def _show_stages(meter: ScanMeter) -> None:
    from lineup.scan.meter import table_from_summary

    for line in table_from_summary(meter.summary()).splitlines():
        say(line, err=True)
