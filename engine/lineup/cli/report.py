"""`lineup report`: a page from the rows of a scan."""

from __future__ import annotations

from pathlib import Path

import click

from lineup.cli.options import gallery_option
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
    "--embed",
    is_flag=True,
    help="Put thumbnails into the page, of the first 1,000 images, so that it can be passed on "
    "without them.  [default: it refers to the files]",
)
@click.option(
    "--base",
    metavar="DIR",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder that relative paths in RESULTS count from.  [default: this one, then those that "
    "RESULTS lies in]",
)
@gallery_option
def report(
    results: Path, *, output: Path | None, embed: bool, base: Path | None, gallery: Path | None
) -> None:
    """Render RESULTS, the JSONL output of `lineup scan`, as one HTML page.

    The page has every row, to search, filter and order, and says how the answers came about, which
    sources are known and how often answers are wrong. It needs no network. Half a row at the end,
    of a scan that was stopped, is left out.
    """
    from lineup.gallery.opening import source_entries
    from lineup.report.page import write_report
    from lineup.report.rows import rows_from_jsonl

    page = output or results.with_suffix(".html")
    write_report(
        rows_from_jsonl(results),
        page,
        embed=embed,
        results=results,
        base=base,
        sources=source_entries(gallery),
    )
    say(page)
