"""`lineup attribute`: a readable verdict about one image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lineup.cli.options import device_option, fingerprint_option, gallery_option, threads_option

if TYPE_CHECKING:
    from lineup.results import Verdict
    from lineup.scan.rows import Row


@click.command(short_help="Tell which known source made an image.")
@click.argument("image", type=click.Path(path_type=Path))
@device_option
@threads_option
@fingerprint_option
@gallery_option
@click.option("--json", "as_json", is_flag=True, help="Print the row that `lineup scan` writes.")
def attribute(
    image: Path,
    device: str,
    threads: int,
    fingerprint: str | None,
    gallery: Path | None,
    as_json: bool,
) -> None:
    """Tell which source of the gallery made IMAGE, and how sure that is.

    The posterior starts from one third each for "a source of the gallery", "unknown" and "real".
    The spectral fingerprint does not separate photographs from generators outside the gallery:
    both come out as unknown.
    """
    from lineup.engine import open_engine
    from lineup.errors import ImageError
    from lineup.scan.pipeline import scan_rows
    from lineup.scan.rows import record_from_row

    with open_engine(
        device=device, threads=threads, fingerprint=fingerprint, gallery=gallery
    ) as engine:
        row = next(scan_rows([image], engine))
    if as_json:
        click.echo(json.dumps(record_from_row(row)))
    if row.error is not None:
        message = row.error.message
        raise ImageError(message if row.path in message else f"{row.path}: {message}")
    if not as_json:
        _print_row(row)


def _print_row(row: Row) -> None:
    from rich.console import Console

    assert row.verdict is not None
    console = Console(highlight=False)
    console.print(row.path, style="bold", markup=False)
    console.print(f"{row.width_px}x{row.height_px} {row.format}, sha256 {row.sha256}", style="dim")
    console.print(f"\nVerdict: [bold]{row.verdict.label}[/bold], {_meaning(row.verdict)}")
    console.print(_table_from_verdict(row.verdict))
    evidence_notes = [note for one in row.verdict.evidence for note in one.notes]
    for note in (*row.notes, *evidence_notes):
        console.print(f"note: {note}", markup=False)


def _meaning(verdict: Verdict) -> str:
    """Put the verdict's probability in words."""
    from lineup.results import REAL, UNKNOWN

    if verdict.label != UNKNOWN:
        return f"{100 * verdict.confidence:.1f} %"
    none_of_them = verdict.posterior[UNKNOWN] + verdict.posterior[REAL]
    return (
        f"{100 * none_of_them:.1f} % that no source in the gallery made it: "
        "another generator, or a photograph"
    )


def _table_from_verdict(verdict: Verdict) -> object:
    from rich.table import Table

    table = Table("source", title_justify="left")
    table.add_column("posterior", justify="right")
    for evidence in verdict.evidence:
        table.add_column(f"{evidence.name} score", justify="right")
        table.add_column("log likelihood ratio", justify="right")
    ranked = sorted(verdict.posterior.items(), key=lambda item: -item[1])
    for name, share in ranked:
        cells = [f"{100 * share:.1f} %"]
        for evidence in verdict.evidence:
            known = name in evidence.scores
            cells += (
                [f"{evidence.scores[name]:.4f}", f"{evidence.llr[name]:+.2f}"]
                if known
                else ["", ""]
            )
        table.add_row(name, *cells)
    return table
