"""What the commands share that attribute folders of labelled images by a lineup."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lineup.cli.lineup_options import evidence_from_text, lineup_option, no_cache_option
from lineup.cli.options import (
    device_option,
    fingerprint_option,
    gallery_option,
    threads_option,
    with_options,
)
from lineup.cli.progress import say
from lineup.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from lineup.attribution.engine import LineupEngine
    from lineup.attribution.options import AttributionOptions
    from lineup.evidence.resynthesis_options import ResynthesisOptions
    from lineup_lab.evaluation.dataset import SourceFolder
    from lineup_lab.evaluation.scores import RawScores, ScoreFile

Command = TypeVar("Command", bound=Callable[..., Any])


def labelled_options(command: Command) -> Command:
    """Add what both commands take: the lineup, its parts, the images and where scores are kept."""
    options: tuple[Callable[[Command], Command], ...] = (
        lineup_option,
        click.option(
            "--real",
            multiple=True,
            metavar="NAME",
            help="A folder of photographs, besides one that is called real. Repeatable.",
        ),
        click.option(
            "--evidence",
            metavar="NAME,...",
            help="Use these alone: fingerprint, resynthesis, ...  [default: all of the lineup]",
        ),
        click.option(
            "--limit", type=click.IntRange(min=2), metavar="N", help="Most images per source. [all]"
        ),
        click.option(
            "--known-prompts",
            is_flag=True,
            help="Take prompts from DIR/prompts.json, where an image has one, and caption the "
            "others.",
        ),
        click.option(
            "--scores",
            "scores_path",
            metavar="FILE",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Keep raw scores in this file; a run that was stopped goes on from it.",
        ),
        no_cache_option,
        fingerprint_option,
        gallery_option,
        device_option,
        threads_option,
    )
    return with_options(command, options)


def asked_evidence(settings: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return what `--evidence` names; None is all of the lineup."""
    text = settings["evidence"]
    return None if text is None else evidence_from_text(text)


def asked_gammas(settings: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Return the rising numbers that `--gamma` lists, each once; None is the command's default.

    Raises:
        UsageError: Not whole numbers from 1 up.
    """
    text = settings["gamma_text"]
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(
            f"--gamma {text!r} is no list of numbers from 1 up.", hint="Example: --gamma 1,2,4"
        )
    return tuple(sorted({int(part) for part in parts}))


def limited_folders(directory: Path, limit: int | None) -> tuple[SourceFolder, ...]:
    """Return the sources of a folder, each with at most `limit` images, the first by name.

    Raises:
        UsageError: See `source_folders_from_dir`.
    """
    from lineup_lab.evaluation.dataset import SourceFolder, source_folders_from_dir

    return tuple(
        SourceFolder(one.name, one.paths[:limit]) for one in source_folders_from_dir(directory)
    )


def open_for(
    settings: Mapping[str, Any], names: tuple[str, ...] | None, *, calibrated: bool
) -> LineupEngine:
    """Open the lineup that the options name.

    Args:
        settings: Values of `labelled_options`.
        names: Evidence that will be asked for; None is all.
        calibrated: Whether its calibration is read.
    """
    from lineup.attribution.opening import open_lineup_engine

    return open_lineup_engine(
        settings["lineup"],
        evidence=names,
        device=settings["device"],
        threads=settings["threads"],
        fingerprint=settings["fingerprint"],
        gallery=settings["gallery"],
        cache=not settings["no_cache"],
        calibrated=calibrated,
    )


def collected_scores(
    folders: Sequence[SourceFolder],
    engine: LineupEngine,
    options: AttributionOptions,
    store: ScoreFile,
    *,
    prompts: Mapping[str, str],
    messages: Console,
    label: str,
) -> tuple[list[RawScores], int]:
    """Return the scores of every distinct image, and how many files could not be read."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from lineup_lab.evaluation.scores import distinct_rows, raw_scores

    rows = []
    columns = (label, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=messages, transient=True, disable=not messages.is_terminal
    ) as progress:
        task = progress.add_task(label, total=sum(len(folder.paths) for folder in folders))
        for row in raw_scores(folders, engine, options, store, prompts=prompts):
            rows.append(row)
            progress.advance(task)
    kept = distinct_rows(rows, lambda row, reason: say(messages, f"{row.path}: {reason}"))
    return kept, sum(row.error is not None for row in rows)


def settings_with_gamma(
    engine: LineupEngine, changes: Mapping[str, Any], mode: str = "default"
) -> ResynthesisOptions:
    """Return the lineup's settings with changes, by one procedure."""
    from lineup.evidence.resynthesis_options import Mode, options_from_mode

    return options_from_mode(Mode(mode), engine.lineup.spec.resynthesis, changes)
