"""`lineup attribute`: a readable verdict about an image, and what it rests on."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineup.cli.lineup_options import question_from_choices, question_options
from lineup.cli.options import engine_options, json_option
from lineup.cli.progress import SOME_FAILED, failure_line, images_from_arguments
from lineup.cli.tables import echo_json, say
from lineup.errors import require_extra
from lineup.finding import check_output

if TYPE_CHECKING:
    from lineup.engine import Engine
    from lineup.options import AttributionOptions
    from lineup.results import Attribution


@click.command(short_help="Tell which known source made an image.")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@question_options
@click.option("--explain", is_flag=True, help="Show scores, costs, caption and calls as well.")
@click.option(
    "--picture",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the query beside each candidate's closest resynthesis (PNG).",
)
@click.option(
    "--pdf",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the answer as an exhibit: hashes, evidence, caveats (extra pdf).",
)
@click.option(
    "--pdf-date",
    metavar="YYYY-MM-DD",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Date that the exhibit bears.  [default: of the file]",
)
@engine_options
@json_option
def attribute(
    *,
    images: tuple[str, ...],
    explain: bool,
    picture: Path | None,
    pdf: Path | None,
    pdf_date: datetime | None,
    as_json: bool,
    **choices: Any,
) -> None:
    """Tell which known source made each IMAGE, and how sure that is.

    IMAGE is a file, a folder (searched through) or a pattern. The gallery's fingerprints answer;
    with --lineup, or with resynthesis as evidence, so do the resyntheses of a lineup's candidates.
    The posterior starts from one half for "a known source", a quarter each for "generated" by
    another and "photograph"; a name is given at 60 % and more, at 80 % with CLIP. An answer is a
    source, "generated, source unknown" or "undetermined".

    Exit code: 0 every image has a verdict, 1 some failed, 2 wrong usage.
    """
    paths = images_from_arguments(images)
    for name, output in (("--picture", picture), ("--pdf", pdf)):
        if output is not None and len(paths) > 1:
            raise click.UsageError(f"{name} takes one image at a time.")
        check_output(output, paths)
    if pdf is not None:
        require_extra("pdf", ("fpdf",))
    question = question_from_choices(choices, images=len(paths))
    failed = 0
    with question.open_engine() as engine:
        for row in engine.scan(paths, options=question.options, reading=question.scan):
            failed += row.verdict is None
            _show(row, as_json=as_json, explain=explain)
            if picture is not None and row.verdict is not None:
                _write_picture(picture, row)
            if pdf is not None and row.verdict is not None:
                _write_pdf(pdf, row, engine, question.options, pdf_date)
    if failed:
        raise click.exceptions.Exit(SOME_FAILED)


def _show(row: Attribution, *, as_json: bool, explain: bool) -> None:
    from lineup.cli.explain import print_attribution

    if as_json:
        echo_json(row.to_dict(), indent=None)
    if row.error is not None:
        say(f"Error: {failure_line(row.path or '', row.error.message)}", err=True)
    elif not as_json:
        print_attribution(row, explain=explain)


def _write_picture(target: Path, row: Attribution) -> None:
    """Write the picture, or say why there is none."""
    from lineup.picture import write_picture
    from lineup.reading import read_image

    if row.resyntheses is None:
        say(
            "no picture: there are no resyntheses, as this lineup has no generator or their "
            "evidence was not asked for",
            err=True,
        )
        return
    assert row.path is not None
    write_picture(target, read_image(row.path).pixels, row, title=Path(row.path).name)
    say(f"picture: {target}", err=True)


def _write_pdf(
    target: Path,
    row: Attribution,
    engine: Engine,
    options: AttributionOptions,
    date: datetime | None,
) -> None:
    from lineup.reading import read_image
    from lineup.report.exhibit import write_exhibit

    assert row.path is not None
    modified = datetime.fromtimestamp(Path(row.path).stat().st_mtime, timezone.utc)
    dated = modified if date is None else date.replace(tzinfo=timezone.utc)
    write_exhibit(target, row, read_image(row.path).pixels, engine, options, dated=dated)
    say(f"exhibit: {target}", err=True)
