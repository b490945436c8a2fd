"""`lineup eval`: accuracy measured on labelled images."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineup.cli.options import device_option, fingerprint_option, threads_option
from lineup.errors import UsageError
from lineup.files import write_atomic

if TYPE_CHECKING:
    from rich.console import Console

    from lineup.evaluation.dataset import LabelledSource, SourceFolder
    from lineup.evaluation.verification import VerificationOptions
    from lineup.evidence.batch import FailedFile, FingerprintedFile, TileFingerprinter


@click.group("eval", short_help="Measure accuracy on labelled images.")
def evaluate() -> None:
    """Measure accuracy on labelled images."""


@evaluate.command(short_help="AUC of each source against every other source.")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--support",
    default="0.5",
    show_default=True,
    metavar="SHARE|COUNT",
    help="Images of each source that stand for it; the others are queries.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the draws.")
@click.option(
    "--real",
    multiple=True,
    metavar="NAME",
    help="A source that is only a negative, such as photographs; can be repeated.",
)
@click.option(
    "--bootstrap",
    type=click.IntRange(min=100),
    default=1000,
    show_default=True,
    help="Resamples for the 95 % interval.",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Images per call of the model.",
)
@click.option(
    "--json",
    "json_path",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the figures to this file.",
)
@fingerprint_option
@device_option
@threads_option
def verification(
    *,
    directory: Path,
    support: str,
    seed: int,
    real: tuple[str, ...],
    bootstrap: int,
    batch: int,
    json_path: Path | None,
    fingerprint: str | None,
    device: str,
    threads: int,
) -> None:
    """Tell each source's images from every other source's: one-against-one AUC in percent.

    DIR holds one folder of images per source. A part of each folder is the support; the rest are
    queries, scored by their mean cosine to the support. Exit code 1 when an image could not be
    read.
    """
    from lineup.evaluation.dataset import source_folders_from_dir
    from lineup.evaluation.splits import checked_support_count, support_size_from_text
    from lineup.evaluation.verification import VerificationOptions, targets_from_names

    options = VerificationOptions(
        support=support_size_from_text(support),
        seed=seed,
        real=tuple(dict.fromkeys(real)),
        resamples=bootstrap,
    )
    folders = source_folders_from_dir(directory)
    # A mistake in the options shows now, not after minutes of inference.
    targets_from_names([folder.name for folder in folders], options.real)
    for folder in folders:
        checked_support_count(folder.name, len(folder.paths), options.support)
    failed = _run_verification(
        folders,
        options,
        batch=batch,
        json_path=json_path,
        extractor_options={"bundle": fingerprint, "device": device, "threads": threads},
    )
    if failed:
        sys.exit(1)


def _run_verification(
    folders: Sequence[SourceFolder],
    options: VerificationOptions,
    *,
    batch: int,
    json_path: Path | None,
    extractor_options: dict[str, Any],
) -> int:
    """Compute, print and write; return how many files failed."""
    from rich.console import Console

    from lineup.evaluation.output import document_from_verification, table_from_verification
    from lineup.evaluation.verification import verification_from_sources
    from lineup.evidence.fingerprint import open_extractor

    messages = Console(stderr=True)
    started = time.perf_counter()
    with open_extractor(**extractor_options) as extractor:
        digest = extractor.digest
        sources = _labelled_sources(folders, extractor, batch, messages)
    result = verification_from_sources(sources, options)
    document = document_from_verification(
        result,
        sources,
        options,
        fingerprint_digest=digest,
        seconds=time.perf_counter() - started,
    )
    _print_dropped(sources, messages)
    Console().print(table_from_verification(result))
    if json_path is not None:
        _write_json(json_path, document)
    return int(document["failed"])


def _labelled_sources(
    folders: Sequence[SourceFolder], extractor: TileFingerprinter, batch: int, messages: Console
) -> tuple[LabelledSource, ...]:
    """Fingerprint every image; a bar on a terminal, a line for every file that failed."""
    from rich.progress import Progress

    from lineup.evaluation.dataset import labelled_sources_from_folders
    from lineup.evidence.batch import FailedFile

    with Progress(console=messages, transient=True, disable=not messages.is_terminal) as progress:
        task = progress.add_task("fingerprints", total=sum(len(f.paths) for f in folders))

        def on_file(file: FingerprintedFile | FailedFile) -> None:
            progress.advance(task)
            if isinstance(file, FailedFile):
                _say(messages, f"{file.path}: {file.error.message}")

        return labelled_sources_from_folders(folders, extractor, batch=batch, on_file=on_file)


def _print_dropped(sources: Sequence[LabelledSource], messages: Console) -> None:
    """Say which files took no part, and why."""
    for source in sources:
        if source.duplicate_count:
            _say(messages, f"{source.name}: {source.duplicate_count} duplicate file(s) dropped")
        if source.ambiguous_count:
            _say(
                messages,
                f"{source.name}: {source.ambiguous_count} image(s) dropped that lie in another "
                "source's folder too",
            )


def _say(messages: Console, text: str) -> None:
    """Print one line as it is: names are neither markup nor broken at the console's width."""
    messages.print(text, markup=False, highlight=False, soft_wrap=True)


def _write_json(path: Path, document: dict[str, Any]) -> None:
    """Write the document, whole or not at all."""
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    try:
        write_atomic(path, text.encode())
    except OSError as error:
        raise UsageError(
            f"Cannot write {path}: {error.strerror or error}.",
            hint="Give --json a file in a folder that can be written to.",
        ) from error
