"""`lineup attribute`: a readable verdict about an image, and what it rests on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineup.cli.lineup_options import (
    cascade_options,
    lineup_option,
    memory_budget_option,
    no_cache_option,
    resynthesis_options,
)
from lineup.cli.options import (
    device_option,
    fingerprint_option,
    gallery_option,
    threads_option,
)

if TYPE_CHECKING:
    from lineup.attribution.engine import Attribution, LineupEngine
    from lineup.attribution.options import AttributionOptions
    from lineup.imaging.decode import DecodedImage
    from lineup.lineups.store import Lineup
    from lineup.scan.rows import Row


@click.command(short_help="Tell which known source made an image.")
@click.argument(
    "images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@lineup_option
@click.option(
    "--evidence",
    metavar="NAME,...",
    help="fingerprint, resynthesis (features and fingerprints of redrawn images).  "
    "[default: all that the lineup has]",
)
@resynthesis_options
@cascade_options
@memory_budget_option
@no_cache_option
@click.option("--explain", is_flag=True, help="Show scores, costs, caption and calls as well.")
@click.option(
    "--picture",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the query beside each candidate's best resynthesis (PNG).",
)
@device_option
@threads_option
@fingerprint_option
@gallery_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON row per image.")
def attribute(
    *,
    images: tuple[Path, ...],
    lineup: str | None,
    evidence: str | None,
    memory_budget: str | None,
    no_cache: bool,
    explain: bool,
    picture: Path | None,
    device: str,
    threads: int,
    fingerprint: str | None,
    gallery: Path | None,
    as_json: bool,
    **choices: Any,
) -> None:
    """Tell which known source made each IMAGE, and how sure that is.

    The posterior starts from one third each for "a known source", "unknown" and "real". Known are
    the candidates of the lineup and the sources of its gallery. Unless told otherwise, all evidence
    is computed; the verdict notes what was left out.
    """
    from lineup.attribution.opening import open_lineup_engine
    from lineup.cli.lineup_options import attribution_options_from_choices
    from lineup.lineups.store import open_lineup

    if picture is not None and len(images) > 1:
        raise click.UsageError("--picture takes one image at a time.")
    found = open_lineup(lineup)
    options = attribution_options_from_choices(found, evidence, choices)
    keeps = True
    if memory_budget is not None and "resynthesis" in (evidence or "resynthesis"):
        keeps = _keeps_models(found, memory_budget, choices["gamma"], len(images))
    failed = 0
    with open_lineup_engine(
        found,
        evidence=options.evidence,
        device=device,
        threads=threads,
        fingerprint=fingerprint,
        gallery=gallery,
        cache=not no_cache,
        keep_models=keeps,
    ) as engine:
        for path in images:
            row, image, answer = _answer(path, engine, options)
            failed += answer is None
            _show(row, answer, as_json=as_json, explain=explain)
            if picture is not None and image is not None and answer is not None:
                _write_picture(picture, row, image, answer)
    if failed:
        raise click.exceptions.Exit(1)


def _keeps_models(lineup: Lineup, budget: str, gamma: int | None, images: int) -> bool:
    """Return whether all models fit the budget together; what does not fit is told on stderr."""
    from lineup.planning.budget import bytes_from_text, plan_for_lineup
    from lineup.planning.plan import Order

    plan = plan_for_lineup(lineup, images=images, gamma=gamma, budget_bytes=bytes_from_text(budget))
    for note in plan.notes:
        click.echo(f"note: {note}", err=True)
    return plan.order is Order.IMAGE_MAJOR


def _answer(
    path: Path, engine: LineupEngine, options: AttributionOptions
) -> tuple[Row, DecodedImage | None, Attribution | None]:
    """Attribute one file; an image that cannot be used becomes a row with an error."""
    import time
    from dataclasses import replace

    from lineup.errors import ImageError
    from lineup.files import sha256_from_bytes
    from lineup.imaging.decode import bytes_from_path, image_from_bytes
    from lineup.scan.rows import Row, StageTimes, row_error_from_exception

    row = Row(path=str(path), run=engine.run_id(options))
    laps = [time.perf_counter()]
    try:
        data = bytes_from_path(path)
        sha256 = sha256_from_bytes(data)
        row = replace(row, sha256=sha256, size_bytes=len(data))
        laps.append(time.perf_counter())
        image = image_from_bytes(data)
    except ImageError as error:
        return replace(row, error=row_error_from_exception(error)), None, None
    laps.append(time.perf_counter())
    answer = engine.attribution(image.pixels, options=options, query_sha256=sha256)
    row = replace(
        row,
        format=image.format,
        width_px=image.width_px,
        height_px=image.height_px,
        verdict=answer.verdict,
        notes=image.notes,
        ms=StageTimes(
            read=(laps[1] - laps[0]) * 1e3,
            decode=(laps[2] - laps[1]) * 1e3,
            preprocess=answer.preprocess_ms,
            inference=answer.inference_ms,
            fuse=answer.fuse_ms,
        ),
    )
    return row, image, answer


def _show(row: Row, answer: Attribution | None, *, as_json: bool, explain: bool) -> None:
    from lineup.cli.explain import print_attribution, record_from_attribution
    from lineup.scan.rows import record_from_row

    if as_json:
        record = record_from_row(row)
        click.echo(json.dumps(record | record_from_attribution(answer)))
    if answer is None:
        assert row.error is not None
        message = row.error.message
        click.echo(
            f"Error: {message if row.path in message else f'{row.path}: {message}'}", err=True
        )
    elif not as_json:
        print_attribution(row, answer, explain=explain)


def _write_picture(path: Path, row: Row, image: DecodedImage, answer: Attribution) -> None:
    """Write the picture, or say why there is none."""
    from lineup.picture import write_picture

    if answer.resynthesis is None:
        click.echo(
            "no picture: nothing was redrawn, as this lineup has no generator or their evidence "
            "was not asked for",
            err=True,
        )
        return
    write_picture(path, image.pixels, answer, title=Path(row.path).name)
    click.echo(f"picture: {path}", err=True)
