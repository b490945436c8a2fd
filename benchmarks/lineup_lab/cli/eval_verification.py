"""`lineup eval verification`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineup.cli.options import device_option, fingerprint_option, threads_option
from lineup.cli.progress import progress_of_files
from lineup.cli.tables import console_for_tables
from lineup_lab.cli.evaluation import attack_option, labelled_sources, protocol_options, write_json

if TYPE_CHECKING:
    from rich.console import Console

    from lineup.evidence.batch import TileFingerprinter
    from lineup_lab.evaluation.attacks import Attack
    from lineup_lab.evaluation.dataset import LabelledSource, SourceFolder
    from lineup_lab.evaluation.queries import AttackedQueries
    from lineup_lab.evaluation.verification import VerificationOptions


@click.command(short_help="AUC of each source against every other source.")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--real",
    multiple=True,
    metavar="NAME",
    help="A source that is only a negative, such as photographs; can be repeated.",
)
@click.option(
    "--rule",
    type=click.Choice(["mean", "max", "knn", "prototype"]),
    default="mean",
    show_default=True,
    help="Score of a query: mean of its cosines with the support, the highest, the mean of the "
    "five highest, or the cosine with the support's mean.",
)
@attack_option("attacked queries")
@protocol_options
@fingerprint_option
@device_option
@threads_option
def verification(
    *,
    directory: Path,
    real: tuple[str, ...],
    rule: str,
    attack_texts: tuple[str, ...],
    support: str,
    seed: int,
    bootstrap: int,
    batch: int,
    json_path: Path | None,
    fingerprint: str | None,
    device: str,
    threads: int,
) -> None:
    """Tell each source's images from every other source's: one-against-one AUC in percent.

    DIR holds one folder of images per source. A part of each folder is the support; the rest are
    queries, scored by their cosines with the support. Attacks change the queries of every source,
    never the support. Exit code 1 when an image could not be read.
    """
    from lineup_lab.evaluation.attacks import attacks_from_texts
    from lineup_lab.evaluation.dataset import source_folders_from_dir
    from lineup_lab.evaluation.rules import ScoreRule
    from lineup_lab.evaluation.splits import checked_support_count, support_size_from_text
    from lineup_lab.evaluation.verification import VerificationOptions, targets_from_names

    options = VerificationOptions(
        support=support_size_from_text(support),
        seed=seed,
        real=tuple(dict.fromkeys(real)),
        resamples=bootstrap,
        rule=ScoreRule(rule),
    )
    attacks = attacks_from_texts(attack_texts)
    folders = source_folders_from_dir(directory)
    # A mistake in the options shows now, not after minutes of inference.
    targets_from_names([folder.name for folder in folders], options.real)
    for folder in folders:
        checked_support_count(folder.name, len(folder.paths), options.support)
    failed = _run_verification(
        folders,
        options,
        attacks,
        batch=batch,
        json_path=json_path,
        extractor_options={"bundle": fingerprint, "device": device, "threads": threads},
    )
    if failed:
        sys.exit(1)


def _run_verification(
    folders: Sequence[SourceFolder],
    options: VerificationOptions,
    attacks: Sequence[Attack],
    *,
    batch: int,
    json_path: Path | None,
    extractor_options: dict[str, Any],
) -> int:
    """Compute, print and write; return how many files failed."""
    from rich.console import Console

    from lineup.evidence.fingerprint import open_extractor
    from lineup_lab.evaluation.output import (
        document_from_verification,
        table_from_attacks,
        table_from_verification,
    )
    from lineup_lab.evaluation.verification import verification_from_sources

    messages = Console(stderr=True)
    started = time.perf_counter()
    with open_extractor(**extractor_options) as extractor:
        digest = extractor.digest
        sources = labelled_sources(folders, extractor, batch, messages)
        queries = _attacked(sources, options, attacks, extractor, batch, messages)
    result = verification_from_sources(sources, options)
    attacked = {
        str(one.attack): verification_from_sources(sources, options, queries=one.fingerprints)
        for one in queries
    }
    document = document_from_verification(
        result,
        sources,
        options,
        fingerprint_digest=digest,
        seconds=time.perf_counter() - started,
        attacked=attacked,
    )
    console_for_tables().print(table_from_verification(result))
    if attacked:
        console_for_tables().print(table_from_attacks(result, attacked))
    if json_path is not None:
        write_json(json_path, document)
    return int(document["failed"]) + sum(len(one.failures) for one in queries)


def _attacked(
    sources: Sequence[LabelledSource],
    options: VerificationOptions,
    attacks: Sequence[Attack],
    extractor: TileFingerprinter,
    batch: int,
    messages: Console,
) -> list[AttackedQueries]:
    """Fingerprint the queries once per attack."""
    from lineup_lab.evaluation.queries import attacked_queries
    from lineup_lab.evaluation.splits import splits_of_sources

    splits = splits_of_sources(sources, options.support, options.seed)
    total = sum(len(split.queries) for split in splits.values())
    attacked = []
    for attack in attacks:
        with progress_of_files(messages, total, str(attack)) as on_file:
            attacked.append(
                attacked_queries(sources, splits, attack, extractor, batch=batch, on_file=on_file)
            )
    return attacked
