"""What the commands that take a folder of labelled images share."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lineup.cli.options import batch_option, with_options
from lineup.cli.progress import progress_of_files, say
from lineup.errors import UsageError
from lineup.files import write_atomic

if TYPE_CHECKING:
    from rich.console import Console

    from lineup.evidence.batch import (
        AnsweredFile,
        FailedFile,
        FingerprintedFile,
        TileFingerprinter,
    )
    from lineup_lab.evaluation.dataset import LabelledSource, SourceFolder

    OnFile = Callable[[FingerprintedFile | AnsweredFile | FailedFile], None]

Command = TypeVar("Command", bound=Callable[..., Any])

bootstrap_option = click.option(
    "--bootstrap",
    type=click.IntRange(min=100),
    default=1000,
    show_default=True,
    help="Resamples for the 95 % interval.",
)


def figures_option(note: str = "") -> Callable[[Command], Command]:
    """Return `--json`; the command receives `json_path: Path | None`.

    Args:
        note: Goes on the sentence of its help.
    """
    return click.option(
        "--json",
        "json_path",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help=f"Write the figures to this file{note}.",
    )


def attack_option(attacked: str) -> Callable[[Command], Command]:
    """Return `--attack`; the command receives `attack_texts: tuple[str, ...]`.

    Args:
        attacked: What the figures are of, e.g. "attacked queries".
    """
    return click.option(
        "--attack",
        "attack_texts",
        multiple=True,
        metavar="NAME[:VALUE]",
        help=f"Measure again with {attacked}: jpeg:90, webp:80, resize:0.5, blur:1, crop:0.8, "
        "noise:2; can be repeated.",
    )


def protocol_options(command: Command) -> Command:
    """Add `--support`, `--seed`, `--bootstrap`, `--batch` and `--json`.

    The command receives `support: str`, `seed: int`, `bootstrap: int`, `batch: int` and
    `json_path: Path | None`.
    """
    options: tuple[Callable[[Command], Command], ...] = (
        click.option(
            "--support",
            default="0.5",
            show_default=True,
            metavar="SHARE|COUNT",
            help="Images of each source that stand for it; the others are queries.",
        ),
        click.option("--seed", default=0, show_default=True, help="Seed of the draws."),
        bootstrap_option,
        batch_option,
        figures_option(),
    )
    return with_options(command, options)


def labelled_sources(
    folders: Sequence[SourceFolder], extractor: TileFingerprinter, batch: int, messages: Console
) -> tuple[LabelledSource, ...]:
    """Fingerprint every image and say which files took no part, and why."""
    from lineup_lab.evaluation.dataset import labelled_sources_from_folders

    total = sum(len(folder.paths) for folder in folders)
    with progress_of_files(messages, total, "fingerprints") as on_file:
        sources = labelled_sources_from_folders(folders, extractor, batch=batch, on_file=on_file)
    for source in sources:
        if source.duplicate_count:
            say(messages, f"{source.name}: {source.duplicate_count} duplicate file(s) dropped")
        if source.ambiguous_count:
            say(
                messages,
                f"{source.name}: {source.ambiguous_count} image(s) dropped that lie in another "
                "source's folder too",
            )
    return sources


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write the document, whole or not at all.

    Raises:
        UsageError: The file cannot be written.
    """
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    try:
        write_atomic(path, text.encode())
    except OSError as error:
        raise UsageError(
            f"Cannot write {path}: {error.strerror or error}.",
            hint="Give --json a file in a folder that can be written to.",
        ) from error
