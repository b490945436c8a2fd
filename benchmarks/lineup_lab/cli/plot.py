"""`lineup plot`: figures of labelled images."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineup.cli.options import (
    all_of,
    batch_option,
    device_option,
    fingerprint_option,
    threads_option,
)
from lineup.cli.tables import say
from lineup.errors import UsageError
from lineup.finding import check_output
from lineup_lab.cli.options import (
    SEED,
    directory_argument,
    file_option,
    labelled_sources,
    open_extractor,
    progress_and_failures,
    real_option,
    require_eval,
)

if TYPE_CHECKING:
    from lineup_lab.dataset import SourceFolder

figure_options = all_of(
    directory_argument,
    real_option("A source of photographs. Repeatable."),
    file_option("The figure, a PNG file.", required=True),
)


@click.group(short_help="Draw spectra and maps of labelled images.")
def plot() -> None:
    """Draw figures of labelled images."""
    require_eval()


@plot.command(short_help="Mean residual spectrum of each source.")
@figure_options
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Most images per source.  [all]"
)
@click.option(
    "--smoothing",
    type=click.FloatRange(min=0),
    default=0.8,
    show_default=True,
    metavar="PX",
    help="Blur of the spectra, which takes the grain away.",
)
def spectra(
    directory: Path, *, real: tuple[str, ...], output: Path, limit: int | None, smoothing: float
) -> None:
    """Draw the mean log-spectrum of each source's residuals, one panel per folder of DIR.

    With --real, differences to the mean over photographs. Exit code 1 when an image could not be
    read.
    """
    from lineup_lab.figures import write_spectra
    from lineup_lab.spectra import mean_spectra, relative_spectra

    folders = _folders(directory, real, output)
    names = [folder.name for folder in folders]
    if set(names) == set(real):
        raise UsageError(
            "Every source is --real, so that no spectrum is left to draw.",
            hint="Leave --real away for at least one source.",
        )
    failures: list[Path] = []
    total = sum(min(limit or len(folder.paths), len(folder.paths)) for folder in folders)
    with progress_and_failures(total, "spectra", failures) as on_file:
        found = mean_spectra(folders, limit=limit, on_file=on_file)
    shown = relative_spectra(found, real) if real else found
    write_spectra(output, shown, relative=bool(real), smoothing_px=smoothing)
    say(output)
    if failures:
        sys.exit(1)


@plot.command("map", short_help="Fingerprints on a plane, coloured by source.")
@figure_options
@click.option(
    "--projection",
    type=click.Choice(["pca", "lda", "tsne"]),
    default="pca",
    show_default=True,
    help="Most variance, best separation of the sources, or neighbourhoods.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of t-SNE.")
@batch_option
@fingerprint_option
@device_option
@threads_option
def map_of_fingerprints(
    directory: Path,
    *,
    real: tuple[str, ...],
    output: Path,
    projection: str,
    seed: int,
    batch: int,
    **settings: Any,
) -> None:
    """Draw every image's fingerprint as a point, coloured by its folder in DIR.

    Exit code 1 when an image could not be read.
    """
    import numpy as np

    from lineup_lab.figures import Projection, points_from_fingerprints, write_map

    folders = _folders(directory, real, output)
    with open_extractor(settings) as extractor:
        sources = labelled_sources(folders, extractor, batch)
    labels = np.repeat(np.arange(len(sources)), [len(source.ids) for source in sources])
    points, axis_labels = points_from_fingerprints(
        np.concatenate([source.fingerprints for source in sources]),
        labels,
        Projection(projection),
        seed=seed,
    )
    names = [sources[label].name for label in labels]
    write_map(output, points, names, axis_labels=axis_labels, real=real)
    say(output)
    if any(source.failures for source in sources):
        sys.exit(1)


def _folders(directory: Path, real: Sequence[str], output: Path) -> tuple[SourceFolder, ...]:
    """Return the sources; what is missing shows before any work."""
    from lineup_lab.dataset import check_names, source_folders_from_dir

    check_output(output, [directory])
    folders = source_folders_from_dir(directory)
    check_names("--real", real, [folder.name for folder in folders])
    return folders
