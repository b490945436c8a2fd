"""`lineup eval real`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineup.cli.evaluation import (
    attack_option,
    batch_option,
    bootstrap_option,
    figures_option,
    progress_of_files,
    write_json,
)
from lineup.cli.options import device_option, fingerprint_option, threads_option
from lineup.cli.tables import console_for_tables

if TYPE_CHECKING:
    from lineup.evaluation.attacks import Attack
    from lineup.evaluation.dataset import SourceFolder
    from lineup.evaluation.real import RealOptions
    from lineup.evidence.batch import TileCutter

CLEAN = "clean"


@click.command(short_help="AUC of photographs against each generator.")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--real",
    "real_names",
    multiple=True,
    required=True,
    metavar="NAME",
    help="A source of photographs; can be repeated.",
)
@attack_option("all images attacked")
@click.option("--seed", default=0, show_default=True, help="Seed of the bootstrap.")
@bootstrap_option
@batch_option
@figures_option()
@fingerprint_option
@device_option
@threads_option
def real(
    *,
    directory: Path,
    real_names: tuple[str, ...],
    attack_texts: tuple[str, ...],
    seed: int,
    bootstrap: int,
    batch: int,
    json_path: Path | None,
    fingerprint: str | None,
    device: str,
    threads: int,
) -> None:
    """Tell photographs from generated images: AUC of photographs against each generator, percent.

    DIR holds one folder of images per source. Nothing is fitted: the bundle gives a log likelihood
    ratio per image. Attacks change photographs and generated images alike. Exit code 1 when an
    image could not be read.
    """
    from lineup.evaluation.attacks import attacks_from_texts
    from lineup.evaluation.dataset import source_folders_from_dir
    from lineup.evaluation.real import RealOptions, generators_from_names

    options = RealOptions(tuple(dict.fromkeys(real_names)), seed, bootstrap)
    attacks = attacks_from_texts(attack_texts)
    folders = source_folders_from_dir(directory)
    # A mistake in the options shows now, not after minutes of inference.
    generators_from_names([folder.name for folder in folders], options.real)
    failed = _run(
        folders,
        options,
        attacks,
        batch=batch,
        json_path=json_path,
        extractor_options={"bundle": fingerprint, "device": device, "threads": threads},
    )
    if failed:
        sys.exit(1)


def _run(
    folders: Sequence[SourceFolder],
    options: RealOptions,
    attacks: Sequence[Attack],
    *,
    batch: int,
    json_path: Path | None,
    extractor_options: dict[str, Any],
) -> int:
    """Compute, print and write; return how many files failed."""
    from rich.console import Console

    from lineup.evaluation.attacks import AttackedExtractor
    from lineup.evaluation.real import real_result_from_llrs, scored_sources
    from lineup.evaluation.real_output import document_from_real, table_from_real
    from lineup.evidence.fingerprint import open_extractor

    messages = Console(stderr=True)
    started = time.perf_counter()
    total = sum(len(folder.paths) for folder in folders)
    scored = {}
    with open_extractor(**extractor_options) as extractor:
        cutters: dict[str, TileCutter] = {CLEAN: extractor}
        cutters |= {str(attack): AttackedExtractor(extractor, attack) for attack in attacks}
        for label, cutter in cutters.items():
            with progress_of_files(messages, total, label) as on_file:
                scored[label] = scored_sources(
                    folders, cutter, extractor.real_llrs_from_tiles, batch=batch, on_file=on_file
                )
        digest = extractor.digest
    results = {label: real_result_from_llrs(one.llrs, options) for label, one in scored.items()}
    document = document_from_real(
        results,
        scored,
        options,
        fingerprint_digest=digest,
        seconds=time.perf_counter() - started,
    )
    console_for_tables().print(table_from_real(results))
    if json_path is not None:
        write_json(json_path, document)
    return sum(len(one.failures) for one in scored.values())
