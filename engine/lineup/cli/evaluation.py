"""What the commands that take a folder of labelled images share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lineup.cli.options import with_options
from lineup.errors import UsageError
from lineup.files import write_atomic

if TYPE_CHECKING:
    from rich.console import Console

    from lineup.evaluation.dataset import LabelledSource, SourceFolder
    from lineup.evidence.batch import (
        AnsweredFile,
        FailedFile,
        FingerprintedFile,
        TileFingerprinter,
    )

    OnFile = Callable[[FingerprintedFile | AnsweredFile | FailedFile], None]

Command = TypeVar("Command", bound=Callable[..., Any])

batch_option = click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Images per call of the model.",
)
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


@contextmanager
def progress_of_files(messages: Console, total: int, label: str) -> Iterator[OnFile]:
    """Yield what to call after each file: a bar on a terminal, a line for every file that failed.

    Args:
        messages: Where both go.
        total: Number of files.
        label: Shown in front of the bar.
    """
    from rich.progress import Progress

    from lineup.evidence.batch import FailedFile

    # Not redirected: what goes to standard output would end up on standard error with the bar.
    with Progress(
        console=messages,
        transient=True,
        redirect_stdout=False,
        disable=not messages.is_terminal,
    ) as progress:
        task = progress.add_task(label, total=total)

        def on_file(file: FingerprintedFile | AnsweredFile | FailedFile) -> None:
            progress.advance(task)
            if isinstance(file, FailedFile):
                say(messages, f"{file.path}: {file.error.message}")

        yield on_file


def labelled_sources(
    folders: Sequence[SourceFolder], extractor: TileFingerprinter, batch: int, messages: Console
) -> tuple[LabelledSource, ...]:
    """Fingerprint every image and say which files took no part, and why."""
    from lineup.evaluation.dataset import labelled_sources_from_folders

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


def say(messages: Console, text: str) -> None:
    """Print one line as it is: names are neither markup nor broken at the console's width."""
    messages.print(text, markup=False, highlight=False, soft_wrap=True)


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
