"""`lineup attribute`: a readable verdict about an image, and what it rests on."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineup.cli.lineup_options import question_from_choices, question_options
from lineup.cli.options import engine_options, json_option
from lineup.cli.progress import SOME_FAILED, failure_line, images_from_arguments
from lineup.cli.tables import echo_json, say
from lineup.errors import require_extra
from lineup.finding import STDIN, check_output

if TYPE_CHECKING:
    from lineup.engine import Engine
    from lineup.options import AttributionOptions
    from lineup.reading import AnyImage
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

    IMAGE is a file, a folder (searched through) or a pattern; '-' alone is the bytes of an image
    on standard input. The gallery's fingerprints answer; with --lineup, or with resynthesis as
    evidence, so do the resyntheses of a lineup's candidates. The posterior starts from one half for
    "a known source", a quarter each for "generated" by another and "photograph"; a name is given at
    80 % and more, at 88 % with CLIP. An answer is a source, "generated, source unknown" or
    "undetermined".

    Exit code: 0 every image has a verdict, 1 some failed, 2 wrong usage.
    """
    content = _standard_input(images)
    paths = images_from_arguments(images) if content is None else [Path(STDIN)]
    for name, output in (("--picture", picture), ("--pdf", pdf)):
        if output is not None and len(paths) > 1:
            raise click.UsageError(f"{name} takes one image at a time.")
        if content is None:
            check_output(output, paths)
    if pdf is not None:
        require_extra("pdf", ("fpdf",))
        if content is not None and pdf_date is None:
            raise click.UsageError("--pdf of standard input has no file's date; give --pdf-date.")
    question = question_from_choices(choices, images=len(paths))
    failed = 0
    with question.open_engine() as engine:
        rows = (
            engine.scan(paths, options=question.options, reading=question.scan)
            if content is None
            else [_row_from_bytes(engine, content, question.options)]
        )
        for row in rows:
            failed += row.verdict is None
            _show(row, as_json=as_json, explain=explain)
            if picture is not None and row.verdict is not None:
                _write_picture(picture, row, row.path or content or b"")
            if pdf is not None and row.verdict is not None:
                _write_pdf(pdf, row, row.path or content or b"", engine, question.options, pdf_date)
    if failed:
        raise click.exceptions.Exit(SOME_FAILED)


def _standard_input(images: tuple[str, ...]) -> bytes | None:
    """Return the image on standard input, if it is asked for; of a huge one, more than is taken."""
    from lineup.imaging.header import DEFAULT_LIMITS

    if STDIN not in images:
        return None
    if len(images) > 1:
        raise click.UsageError("'-' is the only image: standard input has one.")
    return sys.stdin.buffer.read(DEFAULT_LIMITS.max_bytes + 1)


def _row_from_bytes(engine: Engine, content: bytes, options: AttributionOptions) -> Attribution:
    """Answer about an image that is no file, or tell in its row why there is no answer."""
    from lineup.errors import ImageError
    from lineup.files import sha256_from_bytes
    from lineup.results import Attribution, RowError

    try:
        return engine.attribute(content, options=options)
    except ImageError as error:
        return Attribution(
            path=None,
            run=engine.run_id(options),
            sha256=sha256_from_bytes(content),
            size_bytes=len(content),
            error=RowError.from_exception(error),
        )


def _show(row: Attribution, *, as_json: bool, explain: bool) -> None:
    from lineup.cli.explain import print_attribution

    if as_json:
        echo_json(row.to_dict(), indent=None)
    if row.error is not None:
        say(f"Error: {failure_line(row.path or 'standard input', row.error.message)}", err=True)
    elif not as_json:
        print_attribution(row, explain=explain)


def _write_picture(target: Path, row: Attribution, image: AnyImage) -> None:
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
    title = "standard input" if row.path is None else Path(row.path).name
    write_picture(target, read_image(image).pixels, row, title=title)
    say(f"picture: {target}", err=True)


def _write_pdf(
    target: Path,
    row: Attribution,
    image: AnyImage,
    engine: Engine,
    options: AttributionOptions,
    date: datetime | None,
) -> None:
    from lineup.reading import read_image
    from lineup.report.exhibit import write_exhibit

    if date is None:
        assert row.path is not None
        date = datetime.fromtimestamp(Path(row.path).stat().st_mtime, timezone.utc)
    dated = date.replace(tzinfo=timezone.utc)
    write_exhibit(target, row, read_image(image).pixels, engine, options, dated=dated)
    say(f"exhibit: {target}", err=True)
