"""`lineup demo`: a first scan and a first verdict, on images that come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lineup.cli.tables import console_for_tables

if TYPE_CHECKING:
    from lineup.scan.rows import Row

PICTURED = "cedar"
"""The sample whose verdict is drawn."""


@click.command(short_help="Try lineup on the sample images that come with it.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("lineup-demo"),
    show_default=True,
    help="Folder for rows, report and picture.",
)
def demo(output: Path) -> None:
    """Scan sample images by fingerprint, attribute others by all evidence; write pages to look at.

    The samples are drawn by the project. "nearest" and "shuffle" are the same scenes through two
    toy decoders, whose fingerprints join the gallery for the scan; "drawing" passed through none.
    The others were made by small text-to-image generators, the candidates of the lineup "pocket":
    each of them redraws every sample from its caption. "elm" comes from a generator that is no
    candidate, "rendered" from none.
    """
    _scan(output)
    _attribute(output)


def _scan(output: Path) -> None:
    import json

    from lineup.engine import Engine
    from lineup.evidence.fingerprint import open_extractor
    from lineup.files import write_atomic
    from lineup.gallery.opening import open_gallery, shipped_path
    from lineup.paths import shipped_dir
    from lineup.report import write_report
    from lineup.scan.pipeline import scan_rows
    from lineup.scan.rows import record_from_row

    samples = shipped_dir() / "samples"
    extractor = open_extractor(device="cpu")
    known = open_gallery(shipped_path(), fingerprint_digest=extractor.digest)
    sketches = open_gallery(samples / "gallery.safetensors", fingerprint_digest=extractor.digest)
    with Engine(extractor, known.merged_with(sketches)) as engine:
        rows = list(scan_rows(sorted(samples.glob("*.png")), engine))
    records = [record_from_row(row) for row in rows]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    write_atomic(output / "results.jsonl", lines.encode())
    write_report(records, output / "report.html")
    _print_rows("scanned by fingerprint", rows)
    click.echo(f"rows:    {output / 'results.jsonl'}")
    click.echo(f"report:  {output / 'report.html'}")


def _attribute(output: Path) -> None:
    from rich.console import Console

    from lineup.attribution.opening import open_lineup_engine
    from lineup.imaging.decode import image_from_path
    from lineup.paths import shipped_dir
    from lineup.picture import write_picture
    from lineup.scan.rows import Row, StageTimes

    paths = sorted((shipped_dir() / "samples" / "pocket").glob("*.png"))
    rows = []
    status = Console(stderr=True).status("opening the models")
    with status, open_lineup_engine("pocket", device="cpu", cache=False) as engine:
        for path in paths:
            status.update(f"redrawing {path.name} with {len(engine.lineup.spec.candidates)} models")
            pixels = image_from_path(path).pixels
            answer = engine.attribution(pixels)
            rows.append(
                Row(
                    path=str(path),
                    run=engine.run_id(),
                    verdict=answer.verdict,
                    ms=StageTimes(inference=answer.inference_ms),
                )
            )
            if path.stem.startswith(PICTURED):
                write_picture(output / "picture.png", pixels, answer, title=path.name)
    _print_rows("attributed by all evidence", rows)
    click.echo(f"picture: {output / 'picture.png'}")


def _print_rows(title: str, rows: list[Row]) -> None:
    from rich.table import Table

    from lineup.scan.rows import record_from_row

    table = Table("image", "verdict", "posterior", "ms", title=title)
    for row in rows:
        assert row.verdict is not None
        total_ms = sum(value or 0.0 for value in record_from_row(row)["ms"].values())
        table.add_row(
            Path(row.path).name,
            row.verdict.title,
            f"{100 * row.verdict.confidence:.1f} %",
            f"{total_ms:.0f}",
        )
    console_for_tables().print(table)
