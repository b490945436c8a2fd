"""`python -m lineup_models.simulator`: long runs of the simulator, each resumable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lineup.cli.tables import messages_console, say
from lineup.errors import UsageError
from lineup_models.options import (
    Progress,
    hold_out_option,
    photos_option,
    seed_option,
    threads_option,
)
from lineup_models.simulator.architecture import SPACES

weights_option = click.option(
    "--weights",
    required=True,
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    help="Trained simulator, known by the name of its folder; may be given several times.",
)
space_option = click.option(
    "--space", type=click.Choice(list(SPACES)), default="extended", show_default=True
)
strength_option = click.option(
    "--strength", type=click.FloatRange(min=0), default=0.1, show_default=True
)


@click.group()
def simulator() -> None:
    """Train the simulator of generators, and run photographs through it."""


@simulator.command()
@photos_option
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Run folder.")
@seed_option
@click.option("--steps", type=click.IntRange(min=1), default=5000, show_default=True)
@click.option(
    "--crop",
    "crop_px",
    type=click.IntRange(min=32),
    default=128,
    show_default=True,
    help="In px.",
)
@space_option
@hold_out_option
@click.option("--learning-rate", type=float, default=3e-3, show_default=True)
@click.option(
    "--perceptual-weight",
    type=click.FloatRange(min=0),
    default=0.25,
    show_default=True,
    help="Of the perceptual distance; more gives more detail, less of it in the right place.",
)
@click.option("--lpips", is_flag=True, help="Judge by the published LPIPS (package lpips).")
@click.option(
    "--initial",
    type=click.Path(exists=True, dir_okay=False),
    help="Weights to start from, to get a sibling of a trained simulator.",
)
@click.option(
    "--perturbation",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Noise on those weights, in units of their spread.",
)
@threads_option
def train(photos: Path, output: Path, threads: int | None, **options: Any) -> None:
    """Train on photographs; the same command goes on with an interrupted run."""
    from lineup_models.simulator.training import TrainingOptions, train_simulator
    from lineup_models.training import computing

    watch = Progress(messages_console())
    with computing(threads=threads):
        trained = train_simulator(photos, TrainingOptions(**options), output, watch=watch)
    psnr_db = trained.record["psnr_db_last_200_steps"]
    say(f"{output}: {options['steps']} steps, {psnr_db} dB on the last 200 batches")


@simulator.command()
@photos_option
@weights_option
@click.option("--output", required=True, type=click.Path(path_type=Path), help="PNG file.")
@click.option("--models", type=click.IntRange(min=1), default=12, show_default=True)
@click.option("--shared-images", type=click.IntRange(min=1), default=4, show_default=True)
@strength_option
@hold_out_option
@seed_option
@threads_option
def sheet(
    photos: Path,
    weights: tuple[str, ...],
    output: Path,
    models: int,
    threads: int | None,
    **options: Any,
) -> None:
    """Draw generators and show what they make of a few photographs."""
    from lineup_models.pictures import write_sheet
    from lineup_models.simulator.bank import BankFiller, BankOptions
    from lineup_models.training import computing

    with computing(threads=threads):
        filler = BankFiller(photos, _named(weights), BankOptions(own_images=1, **options))
        rows = [filler.originals(0)[1]]
        for index in range(models):
            samples, identity = filler.model(index)
            rows.append(samples["images"])
            psnr_db = " ".join(f"{value:.1f}" for value in samples["psnr_db"])
            say(f"{identity}: {psnr_db} dB")
    write_sheet(output, rows)


@simulator.command()
@photos_option
@weights_option
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder.")
@click.option("--models", type=click.IntRange(min=1), default=1500, show_default=True)
@click.option("--own-images", type=click.IntRange(min=1), default=8, show_default=True)
@click.option("--shared-images", type=click.IntRange(min=0), default=4, show_default=True)
@strength_option
@space_option
@hold_out_option
@click.option(
    "--versions", "degraded_versions", type=click.IntRange(min=0), default=1, show_default=True
)
@seed_option
@threads_option
def bank(
    photos: Path, weights: tuple[str, ...], output: Path, threads: int | None, **options: Any
) -> None:
    """Run photographs through many generators and keep images and spectra."""
    from lineup_models.fingerprint.spec import SpectrumSpec
    from lineup_models.fingerprint.spectrum import PooledSpectrum
    from lineup_models.simulator.bank import BankOptions, fill_bank
    from lineup_models.simulator.bank_reader import add_features
    from lineup_models.simulator.features import features_from_spectrum
    from lineup_models.training import computing

    watch = Progress(messages_console())
    with computing(threads=threads):
        fill_bank(photos, _named(weights), output, BankOptions(**options), watch=watch)
        features = features_from_spectrum(PooledSpectrum(SpectrumSpec()).eval())
        add_features(output, "spectrum", features, watch=watch)
    say(f"{output}: {options['models']} generators")


@simulator.command()
@click.option(
    "--bank",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Bank of reconstructions.",
)
@click.option("--models", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder.")
def pictures(bank: Path, models: int, output: Path) -> None:
    """Write one picture of each of some generators of a bank, spread evenly over it."""
    from lineup_models.pictures import write_png
    from lineup_models.simulator.bank_reader import one_image_per_generator

    output.mkdir(parents=True, exist_ok=True)
    written = 0
    for number, image in one_image_per_generator(bank, models):
        write_png(output / f"{number:05d}.png", image)
        written += 1
    say(f"{output}: {written} pictures")


def _named(weights: tuple[str, ...]) -> dict[str, Path]:
    """Name weight files by the run folder they lie in."""
    named = {Path(path).resolve().parent.name: Path(path) for path in weights}
    if len(named) < len(weights):
        raise UsageError(
            f"Of {len(weights)} weight files some lie in folders of the same name.",
            hint="Their folders are what tells them apart; rename one.",
        )
    return named
