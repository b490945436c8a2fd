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
def report(results: Path, output: Path | None, max_rows: int) -> None:
    """Render RESULTS, the JSONL output of `lineup scan`, as one HTML page.

    The page needs no network. Thumbnails are taken from the scanned files, if they are still
    there and unchanged.
    """
    from lineup.finding import check_output
    from lineup.report import records_from_jsonl, write_report

    page = output or results.with_suffix(".html")
    check_output(page, [results])
    write_report(records_from_jsonl(results), page, max_rows=max_rows)
    say(page)
