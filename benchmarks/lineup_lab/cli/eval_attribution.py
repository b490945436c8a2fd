"""`lineup eval attribution`: a lineup measured on labelled images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineup.cli.lineup_options import evidence_from_text
from lineup.cli.options import names_from_text
from lineup.cli.tables import messages_console, say
from lineup.errors import UsageError
from lineup.finding import check_output
from lineup_lab.cli.options import (
    SEED,
    asked_gammas,
    bootstrap_option,
    collected_scores,
    deliver,
    directory_argument,
    figures_options,
    judge_of,
    labelled_options,
    limited_folders,
    open_for,
)

if TYPE_CHECKING:
    from lineup.calibration.calibration import Calibration
    from lineup.engine import Engine
    from lineup_lab.scores import RawScores

DEFAULT_MODE = "default"


@click.command("attribution", short_help="Attribution by all evidence of a lineup.")
@directory_argument
@click.option(
    "--unknown",
    default="",
    metavar="NAME,...",
    help="Folders of generators that are not in the lineup.",
)
@click.option(
    "--mode",
    "modes",
    multiple=True,
    type=click.Choice([DEFAULT_MODE, "resynthesis", "regeneration"]),
    default=[DEFAULT_MODE],
    show_default=True,
    help="Procedure; the papers' are without rejection. Repeatable.",
)
@click.option(
    "--gamma",
    "gamma_text",
    metavar="N,...",
    help="Resyntheses per candidate; several numbers are compared.  [default: the lineup's]",
)
@click.option(
    "--stored",
    is_flag=True,
    help="No generator runs: compare with the resyntheses in DIR/<source>/images/<candidate>/, "
    "called as the image or NAME-0, NAME-1, or, where there are none, with those that `lineup "
    "resyntheses add` keeps.",
)
@click.option(
    "--plot",
    "plot_path",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw accuracy against time for the numbers of --gamma, a PNG file.",
)
@bootstrap_option
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of the bootstrap.")
@click.option(
    "--calibration",
    "calibration_path",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Use this calibration.  [default: the lineup's]",
)
@figures_options("; raw scores are kept beside it")
@labelled_options
def attribution(directory: Path, **settings: Any) -> None:
    """Attribute the images of DIR, one folder per source, by a lineup.

    A folder with the name of a candidate holds its images; "real" holds photographs. Figures are
    in percent, the calibration error is 0 to 1. Time is taken on images that no cache helped with.
    Exit code 1 when an image could not be read.
    """
    from lineup.calibration.calibration import CALIBRATION
    from lineup_lab.attribution_report import plot_sweep, tables_from_document

    gammas = asked_gammas(settings)
    if settings["plot_path"] is not None and (gammas is None or len(gammas) < 2):
        raise UsageError(
            "--plot compares numbers of resyntheses.", hint="Give them, e.g. --gamma 1,2,4,8."
        )
    for output in (settings["output"], settings["plot_path"]):
        check_output(output, [directory])
    names = evidence_from_text(settings["evidence"])
    other = settings["calibration_path"]
    stored_of = directory if settings["stored"] else None
    with open_for(settings, calibrated=other is None, stored_of=stored_of) as engine:
        calibration = engine.calibration if other is None else CALIBRATION.read(other)
        engine.calibration = None  # raw scores do not depend on it
        document = _evaluated(directory, engine, calibration, names, gammas, settings)
        candidates = len(engine.candidates)
    deliver(document, tables_from_document(document, {DEFAULT_MODE: "all evidence"}), settings)
    if settings["plot_path"] is not None:
        plot_sweep(settings["plot_path"], document["sweep"], candidates=candidates)
        say(f"{settings['plot_path']}: accuracy against time", console=messages_console())
    if document["failed"]:
        sys.exit(1)


def _evaluated(
    directory: Path,
    engine: Engine,
    calibration: Calibration | None,
    names: tuple[str, ...] | None,
    gammas: tuple[int, ...] | None,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Score every image by every procedure, and return the document."""
    from lineup.options import AttributionOptions
    from lineup.results import RESYNTHESIS
    from lineup_lab.attribution import roles_from_sources
    from lineup_lab.attribution_report import (
        document_from_rows,
        sweep_from_rows,
        whole_document,
    )
    from lineup_lab.scores import ScoreFile, prompts_from_dir

    folders = limited_folders(directory, settings["limit"])
    unknown = names_from_text(settings["unknown"])
    sources = [folder.name for folder in folders]
    roles = roles_from_sources(sources, engine.candidates, unknown, settings["real"])
    prompts = prompts_from_dir(directory) if settings["known_prompts"] else {}
    output: Path | None = settings["output"]
    beside = None if output is None else output.with_suffix(".scores.jsonl")
    store = ScoreFile(settings["scores_path"] or beside)
    most = engine.lineup.spec.resynthesis.gamma if gammas is None else max(gammas)
    modes: dict[str, dict[str, Any]] = {}
    sweep: list[dict[str, Any]] = []
    failed = 0
    for mode in dict.fromkeys(settings["modes"]):
        # The first paper draws one picture.
        changes = {} if mode == "resynthesis" else {"gamma": most}
        judge = judge_of(engine, changes, mode, calibration)
        options = AttributionOptions(
            evidence=names if mode == DEFAULT_MODE else (RESYNTHESIS,), resynthesis=judge.settings
        )
        rows, unreadable = collected_scores(
            folders, engine, options, store, prompts=prompts, label=mode
        )
        failed = max(failed, unreadable)
        if settings["stored"]:
            rows = _with_resyntheses(rows, engine)
        if not any(roles[row.source] in engine.candidates for row in rows):
            raise UsageError("No image of a candidate could be used.")
        modes[mode] = document_from_rows(
            rows, roles, judge, resamples=settings["bootstrap"], seed=settings["seed"]
        )
        if mode == DEFAULT_MODE and gammas is not None and len(gammas) > 1:
            sweep = sweep_from_rows(rows, roles, judge, gammas)
    return whole_document(
        modes,
        sweep,
        lineup=engine.lineup.spec.name,
        calibrated=calibration is not None,
        directory=directory.name,
        seed=settings["seed"],
        bootstrap=settings["bootstrap"],
        known_prompts=settings["known_prompts"],
        stored=settings["stored"],
        gamma=most,
        failed=failed,
    )


def _with_resyntheses(rows: list[RawScores], engine: Engine) -> list[RawScores]:
    """Leave out images of which nothing is stored, and say what is missing."""
    from lineup.results import RESYNTHESIS_EVIDENCE

    made = [
        {name for one in row.evidence if one.name in RESYNTHESIS_EVIDENCE for name in one.scores}
        for row in rows
    ]
    kept = [row for row, names in zip(rows, made, strict=True) if names]
    everybody = {one.name for one in engine.lineup.spec.candidates}
    whole = sum(names >= everybody for names in made)
    if whole < len(rows):
        say(
            f"{len(rows)} images: {len(rows) - len(kept)} without stored resyntheses are left out, "
            f"{whole} have those of every candidate",
            console=messages_console(),
        )
    return kept
