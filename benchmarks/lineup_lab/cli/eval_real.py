"""`lineup eval real`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineup.cli.options import batch_option, device_option, fingerprint_option, threads_option
from lineup.cli.progress import progress_of_files
from lineup.cli.tables import console_for_tables
from lineup_lab.cli.evaluation import attack_option, bootstrap_option, figures_option, write_json

if TYPE_CHECKING:
    from lineup.evidence.batch import TileCutter
    from lineup_lab.evaluation.attacks import Attack
    from lineup_lab.evaluation.dataset import SourceFolder
    from lineup_lab.evaluation.real import RealOptions

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
    from lineup_lab.evaluation.attacks import attacks_from_texts
    from lineup_lab.evaluation.dataset import source_folders_from_dir
    from lineup_lab.evaluation.real import RealOptions, generators_from_names

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

    from lineup.evidence.fingerprint import open_extractor
    from lineup_lab.evaluation.attacks import AttackedExtractor
    from lineup_lab.evaluation.real import real_result_from_llrs, scored_sources
    from lineup_lab.evaluation.real_output import document_from_real, table_from_real

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
