"""`lineup calibrate`: what a lineup's scores mean, learnt from images of known origin."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineup.cli.lineup_options import evidence_from_text
from lineup.cli.tables import console_for_tables, messages_console, say
from lineup.finding import check_output
from lineup_lab.cli.options import (
    SEED,
    asked_gammas,
    collected_scores,
    directory_argument,
    file_option,
    judge_of,
    labelled_options,
    limited_folders,
    open_for,
    require_eval,
)

if TYPE_CHECKING:
    from rich.table import Table

    from lineup.calibration.calibration import Calibration
    from lineup.engine import Engine

LEVEL = click.FloatRange(0, 1, min_open=True, max_open=True)


@click.command(short_help="Fit what a lineup's scores mean on labelled images.")
@directory_argument
@file_option(
    "Write the calibration here and leave the lineup as it is.  [default: beside lineup.toml, and "
    "the lineup uses it]"
)
@click.option(
    "--gamma",
    "gamma_text",
    metavar="N,...",
    help="Resyntheses per candidate that verdicts may ask for; the first ones of the largest "
    "number serve for all.  [default: powers of two up to the lineup's number, and that]",
)
@click.option("--folds", type=click.IntRange(min=2), default=5, show_default=True)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of the splits.")
@click.option(
    "--level", type=LEVEL, default=0.9, show_default=True, help="Coverage of conformal sets."
)
@click.option(
    "--family-level",
    type=LEVEL,
    default=0.9,
    show_default=True,
    help="Accuracy among siblings below which they are reported together.",
)
@labelled_options
def calibrate(directory: Path, **settings: Any) -> None:
    """Fit the calibration of a lineup on the images of DIR, and make the lineup use it.

    A folder with the name of a candidate holds its images, "real" holds photographs, and any
    other folder images that no candidate made. Raw scores are kept beside the calibration, so that
    a run that was stopped goes on, and another fit costs nothing. Images of the same prompt in
    DIR/prompts.json stay on one side of every split. Exit code 1 when an image could not be read.
    """
    require_eval()
    from lineup.calibration.calibration import CALIBRATION
    from lineup.lineups.store import calibration_path, use_calibration

    gammas, names = asked_gammas(settings), evidence_from_text(settings["evidence"])
    check_output(settings["output"], [directory])
    with open_for(settings, calibrated=False) as engine:
        lineup = engine.lineup
        output = settings["output"] or calibration_path(lineup)
        calibration, failed = _fitted(directory, engine, names, gammas, settings, output)
    CALIBRATION.write(output, calibration)
    if settings["output"] is None:
        use_calibration(lineup, output)
    console_for_tables().print(_table(calibration))
    say(
        f"{output}: fitted on {sum(calibration.counts.values())} images", console=messages_console()
    )
    if failed:
        sys.exit(1)


def _gammas(engine: Engine, asked: Sequence[int] | None) -> tuple[int, ...]:
    if asked is not None:
        return tuple(asked)
    most = engine.lineup.spec.resynthesis.gamma
    return tuple(sorted({most, *(2**power for power in range(most.bit_length()))} - {0}))


def _fitted(
    directory: Path,
    engine: Engine,
    names: tuple[str, ...] | None,
    asked_gammas: Sequence[int] | None,
    settings: dict[str, Any],
    output: Path,
) -> tuple[Calibration, int]:
    """Return the calibration, and how many files could not be read."""
    from lineup.options import AttributionOptions
    from lineup_lab.attribution import calibration_roles
    from lineup_lab.fit_calibration import FitOptions, calibration_from_rows
    from lineup_lab.scores import ScoreFile, prompts_from_dir

    gammas = _gammas(engine, asked_gammas)
    folders = limited_folders(directory, settings["limit"])
    roles = calibration_roles(
        [folder.name for folder in folders], engine.candidates, settings["real"]
    )
    groups = prompts_from_dir(directory)
    judge = judge_of(engine, {"gamma": max(gammas)})
    rows, failed = collected_scores(
        folders,
        engine,
        AttributionOptions(evidence=names, resynthesis=judge.settings),
        ScoreFile(settings["scores_path"] or output.with_suffix(".scores.jsonl")),
        prompts=groups if settings["known_prompts"] else {},
        label="scores",
    )
    has_resyntheses = any(one.samples for row in rows for one in row.evidence)

    def on_gamma(gamma: int) -> None:
        if has_resyntheses:
            say(f"fitted for {gamma} resyntheses per candidate", console=messages_console())

    calibration = calibration_from_rows(
        rows,
        roles,
        judge,
        gammas if has_resyntheses else gammas[-1:],
        lineup=engine.lineup.spec.name,
        options=FitOptions(
            level=settings["level"],
            family_level=settings["family_level"],
            folds=settings["folds"],
            seed=settings["seed"],
        ),
        groups=groups,
        on_gamma=on_gamma,
    )
    return calibration, failed


def _table(calibration: Calibration) -> Table:
    """Return one row per set of evidences and number of resyntheses, cross-validated."""
    from lineup_lab.report import cell, figure_table

    heads = ("evidence", "gamma", "weights", "accuracy %", "ECE", "NLL", "queries")
    table = figure_table("Held-out figures of the calibration", heads)
    for variant in calibration.variants:
        for one in variant.sets:
            names = sorted(one.weights)
            gammas = {variant.evidence[name].options.get("gamma") for name in names} - {None}
            figures = (("accuracy", 1), ("ece", 3), ("nll", 3), ("queries", 0))
            table.add_row(
                " + ".join(names),
                ", ".join(map(str, sorted(gammas, key=str))) or "-",
                ", ".join(f"{one.weights[name]:.2f}" for name in names),
                *(cell(one.figures[key], digits) for key, digits in figures),
            )
    return table
