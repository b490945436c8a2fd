"""`lineup report`: a page from the rows of a scan."""

from __future__ import annotations

from pathlib import Path

import click

from lineup.cli.tables import say


@click.command(short_help="Render a scan as a page to look at.")
@click.argument("results", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The page.  [default: RESULTS with the suffix .html]",
)
@click.option(
    "--max-rows",
    type=click.IntRange(min=1),
    default=500,
    show_default=True,
    help="Images shown with a thumbnail; the counts cover all.",
)
@click.option(
    "--base",
    metavar="DIR",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder that relative paths in RESULTS count from.  [default: this one, then those that "
    "RESULTS lies in]",
)
def report(results: Path, output: Path | None, max_rows: int, base: Path | None) -> None:
    """Render RESULTS, the JSONL output of `lineup scan`, as one HTML page.

    The page needs no network. Thumbnails are taken from the scanned files, if they are still
    there and unchanged. Half a row at the end, of a scan that was stopped, is left out.
    """
    from lineup.report import records_from_jsonl, write_report

    page = output or results.with_suffix(".html")
    records = records_from_jsonl(results)
    write_report(records, page, max_rows=max_rows, results=results, base=base)
    if len(records) > max_rows:
        say(f"note: the page shows {max_rows} of {len(records)} images; see --max-rows", err=True)
    say(page)
