"""`lineup demo`: a first scan and a first verdict, on images that come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lineup.cli.tables import console_for_tables, messages_console, say

if TYPE_CHECKING:
    from lineup.results import Attribution

PICTURED = "cedar"
"""The sample whose verdict is drawn."""

ROWS, REPORT, PICTURE = "results.jsonl", "report.html", "picture.png"

HANDLED = (("nearest-0", "resize:0.75"), ("nearest-1", "jpeg:70"), ("shuffle-0", "resize:1.5"))
"""Samples that are scanned again as compression and resizing leave them."""


@click.command(short_help="Try lineup on the sample images that come with it.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("lineup-demo"),
    show_default=True,
    help="Folder for rows, report and picture.",
)
@click.option("--overwrite", is_flag=True, help="Replace those of an earlier demo.")
def demo(output: Path, *, overwrite: bool) -> None:
    """Scan sample images by fingerprint, attribute others by all evidence; write pages to look at.

    The samples are drawn by the project. "nearest" and "shuffle" are the same scenes through two
    toy decoders, whose fingerprints join the shipped gallery for the scan; "drawing" passed
    through none. Three of them are scanned again, compressed or resized.
    The others were made by small text-to-image generators, the candidates of the lineup "pocket":
    each of them resynthesises every sample from its caption. "elm" comes from a generator that is
    no candidate, "rendered" from none.
    """
    from lineup.finding import check_free

    if not overwrite:
        handled = [_handled_name(stem, channel) for stem, channel in HANDLED]
        check_free(output, [ROWS, REPORT, PICTURE, *handled])
    _scan(output)
    _attribute(output)


def _scan(output: Path) -> None:
    import json

    from lineup.engine import open_engine
    from lineup.files import write_atomic
    from lineup.lineups.spec import LineupSpec
    from lineup.lineups.store import Lineup
    from lineup.paths import shipped_dir
    from lineup.report.page import write_report
    from lineup.report.rows import row_from_attribution

    samples = shipped_dir() / "samples"
    lineup = Lineup(LineupSpec("demo", gallery=str(samples / "gallery.safetensors")))
    with open_engine(lineup, device="cpu") as engine:
        sources, evidence = len(engine.sources), engine.evidence
        rows = list(engine.scan([str(samples / "*.png"), *_handled(samples, output)]))
    records = [row.to_dict() for row in rows]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    write_atomic(output / ROWS, lines.encode())
    write_report(map(row_from_attribution, rows), output / REPORT, embed=True)
    _print_rows(f"scanned: {sources} sources, by {' and '.join(evidence)}", rows)
    say(f"rows:    {output / ROWS}")
    say(f"report:  {output / REPORT}")
    more = ["lineup enroll NAME IMAGES... makes a generator known"]
    if "reference" not in evidence:
        more.insert(0, "lineup models pull clip-vit-b-16 gives twice the names (90 MB)")
    for head, line in zip(("more:", ""), more, strict=False):
        say(f"{head:<9}{line}")


def _handled_name(stem: str, channel: str) -> str:
    return f"{stem}-{channel.replace(':', '-')}.png"


def _handled(samples: Path, output: Path) -> list[str]:
    """Write samples as networks and phones leave them; return where."""
    import cv2

    from lineup.channels import through_channel
    from lineup.reading import read_image

    output.mkdir(parents=True, exist_ok=True)
    paths = []
    for stem, channel in HANDLED:
        path = output / _handled_name(stem, channel)
        pixels = through_channel(read_image(samples / f"{stem}.png").pixels, channel)
        cv2.imwrite(str(path), pixels[..., ::-1])
        paths.append(str(path))
    return paths


def _attribute(output: Path) -> None:
    from lineup.engine import open_engine
    from lineup.paths import shipped_dir
    from lineup.picture import write_picture
    from lineup.reading import read_image

    paths = sorted((shipped_dir() / "samples" / "pocket").glob("*.png"))
    rows = []
    status = messages_console().status("opening the models")
    with status, open_engine("pocket", device="cpu", cache=False) as engine:
        for path in paths:
            count = len(engine.lineup.spec.generators)
            status.update(f"resynthesising {path.name} with {count} models")
            image = read_image(path)
            rows.append(engine.attribute(image))
            if path.stem.startswith(PICTURED):
                write_picture(output / PICTURE, image.pixels, rows[-1], title=path.name)
    _print_rows("attributed by all evidence", rows)
    say(f"picture: {output / PICTURE}")


def _print_rows(title: str, rows: list[Attribution]) -> None:
    from rich.table import Table

    table = Table("image", "verdict", "posterior", "channel", "ms", title=title)
    for row in rows:
        assert row.verdict is not None
        share, seen = row.verdict.title_probability, row.verdict.evidence[0]
        table.add_row(
            Path(row.path or "").name,
            row.verdict.title,
            "-" if share is None else f"{100 * share:.1f} %",
            seen.channel if seen.channel and row.verdict.label in seen.scores else "-",
            f"{row.ms.total_ms:.0f}",
        )
    console_for_tables().print(table)
