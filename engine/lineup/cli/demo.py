"""`lineup demo`: a first scan, on images that come with the package."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Scan the sample images that come with lineup.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("lineup-demo"),
    show_default=True,
    help="Folder for the rows and the report.",
)
def demo(output: Path) -> None:
    """Scan the sample images and write a report to look at.

    The samples are drawn by the project. "nearest" and "shuffle" are the same scenes through two
    toy decoders, whose fingerprints join the gallery for this run; "drawing" passed through none.
    """
    import json

    from rich.console import Console
    from rich.table import Table

    from lineup.engine import Engine
    from lineup.evidence.fingerprint import open_extractor
    from lineup.files import write_atomic
    from lineup.gallery.store import open_gallery
    from lineup.paths import shipped_dir
    from lineup.report import write_report
    from lineup.scan.pipeline import scan_rows
    from lineup.scan.rows import record_from_row

    samples = shipped_dir() / "samples"
    extractor = open_extractor(device="cpu")
    known = open_gallery(shipped_dir() / "gallery", fingerprint_digest=extractor.digest)
    sketches = open_gallery(samples / "gallery", fingerprint_digest=extractor.digest)
    with Engine(extractor, known.merged_with(sketches)) as engine:
        rows = list(scan_rows(sorted(samples.glob("*.png")), engine))
    table = Table("image", "verdict", "posterior", "ms")
    for row in rows:
        assert row.verdict is not None
        total_ms = sum(value or 0.0 for value in record_from_row(row)["ms"].values())
        table.add_row(
            Path(row.path).name,
            row.verdict.label,
            f"{100 * row.verdict.confidence:.1f} %",
            f"{total_ms:.0f}",
        )
    records = [record_from_row(row) for row in rows]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    write_atomic(output / "results.jsonl", lines.encode())
    write_report(records, output / "report.html")
    Console().print(table)
    click.echo(f"rows:   {output / 'results.jsonl'}")
    click.echo(f"report: {output / 'report.html'}")
