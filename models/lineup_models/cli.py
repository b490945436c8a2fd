"""`lineup train`: fit models from photographs."""

from __future__ import annotations

from pathlib import Path

import click

from lineup.cli.tables import messages_console, say
from lineup.errors import require_extra
from lineup.finding import check_output
from lineup_models.fingerprint.spec import ChannelMean, ResidualFilter, SpectrumSpec
from lineup_models.options import Progress, folders_option, hold_out_option
from lineup_models.pocket.cli import pocket
from lineup_models.research.oneforall.cli import fingerprint

DEFAULTS = SpectrumSpec()


@click.group()
def train() -> None:
    """Fit models from photographs."""
    require_extra("train", ("torch",))


train.add_command(fingerprint)
train.add_command(pocket)


@train.command(context_settings={"show_default": True})
@folders_option
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="Checkpoint folder to write; must not exist.",
)
@hold_out_option
@click.option(
    "--axes",
    type=click.IntRange(min=0),
    default=DEFAULTS.axes,
    help="Principal axes to keep, of spectrum and of texture each; 0 keeps all.",
)
@click.option(
    "--floor",
    type=click.FloatRange(min=0, min_open=True),
    default=DEFAULTS.floor,
    help="Variance added to every axis, in multiples of the median variance.",
)
@click.option(
    "--residual",
    type=click.Choice([choice.value for choice in ResidualFilter]),
    default=DEFAULTS.residual.value,
    help="Filter that takes the content away.",
)
@click.option(
    "--sigma-grey",
    type=click.FloatRange(min=0, min_open=True),
    default=DEFAULTS.sigma_grey,
    help="Contrast below which the filter smooths, in grey levels.",
)
@click.option(
    "--channel-mean",
    type=click.Choice([choice.value for choice in ChannelMean]),
    default=DEFAULTS.channel_mean.value,
    help="What is averaged over the colour channels.",
)
@click.option(
    "--tiles-per-photo",
    type=click.IntRange(min=1),
    default=8,
    help="Most tiles of a photograph, spread over it, that are averaged to one sample.",
)
def whitening(
    *,
    photos: tuple[Path, ...],
    output: Path,
    hold_out: int,
    axes: int,
    floor: float,
    residual: str,
    sigma_grey: float,
    channel_mean: str,
    tiles_per_photo: int,
) -> None:
    """Fit the whitening of the fingerprint.

    Learns what the spectra and textures of photographs have in common, as they are, compressed and
    resized, so that it can be taken away. Of a large photograph the middle is used, up to 768 px a
    side.
    """
    from lineup_models.fingerprint.checkpoint import refuse_existing, write_checkpoint
    from lineup_models.fingerprint.whitening import FitOptions, fit_whitening

    spec = SpectrumSpec(
        residual=ResidualFilter(residual),
        channel_mean=ChannelMean(channel_mean),
        sigma_grey=sigma_grey,
        axes=axes,
        floor=floor,
    )
    options = FitOptions(hold_out=hold_out, tiles_per_photo=tiles_per_photo)
    refuse_existing(output)
    console = messages_console()
    fit = fit_whitening(photos, spec, options, watch=Progress(console))
    write_checkpoint(fit.checkpoint, output)
    for path, reason in fit.skipped.items():
        say(f"skipped {path}: {reason}", console=console)
    kept, record = len(fit.checkpoint.whitening.variances), fit.checkpoint.record
    say(
        f"{output}: {kept} axes from {record['samples']} samples of {record['photographs']} "
        f"photographs in {record['seconds']} s"
        f" ({record['photographs_held_out']} held out, {len(fit.skipped)} skipped)"
    )


generated_option = click.option(
    "--generated",
    multiple=True,
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with one folder of images per generator; can be repeated. Those that are given as "
    "photographs are none.",
)


@train.command()
@click.argument(
    "checkpoint",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="CHECKPOINT",
)
@folders_option
@generated_option
@hold_out_option
def real(
    *, checkpoint: Path, photos: tuple[Path, ...], generated: tuple[Path, ...], hold_out: int
) -> None:
    """Fit what tells photographs from generated images, into CHECKPOINT.

    CHECKPOINT is what `lineup train whitening` wrote; the fingerprint stays as it is. Give
    photographs of several origins: of one collection, resized alike, it would learn the resize.
    """
    from lineup_models.fingerprint.checkpoint import add_real_head, read_checkpoint
    from lineup_models.fingerprint.real_training import RealOptions, fit_real_head

    head, record = fit_real_head(
        photos,
        generated,
        read_checkpoint(checkpoint).spec,
        RealOptions(hold_out=hold_out),
        watch=Progress(messages_console()),
    )
    add_real_head(checkpoint, head, record)
    say(
        f"{checkpoint}: {sum(record['images'].values())} images, "
        f"{record['photographs_held_out']} photographs held out, {record['seconds']} s"
    )
    for channel, generators in record["left_out"].items():
        mean, share = (
            sum(one[name] for one in generators.values()) / len(generators)
            for name in ("auc", "beyond")
        )
        say(
            f"without the generator, {channel}: AUC {mean:.1f} %, {share:.1f} % of its images "
            "beyond the threshold of 2 % of the photographs"
        )


@train.command()
@click.option(
    "--photos",
    multiple=True,
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of photographs of one collection; can be repeated.",
)
@generated_option
@click.option("--output", required=True, type=click.Path(dir_okay=False, path_type=Path))
def photograph(*, photos: tuple[Path, ...], generated: tuple[Path, ...], output: Path) -> None:
    """Fit what tells photographs from generated images by CLIP's tokens and texture.

    The encoder of the reference evidence has to be there: `lineup models pull clip-vit-b-16`. The
    head goes with the fingerprint of the package, and is fitted anew after that.
    Generators whose names begin with the same letters are left out together, as versions of one.
    """
    from lineup.fingerprint import DEFAULT_BUNDLE, FingerprintExtractor
    from lineup.models.encoder import ImageEncoder
    from lineup.runtime import REFERENCE_BUNDLE, Runtime
    from lineup_models.photograph_head import (
        head_from_samples,
        samples_from_folders,
        summary,
        write_head,
    )
    from lineup_models.photographs import generator_folders

    check_output(output, [*photos, *generated])
    sources = generator_folders(generated, photos)
    watch = Progress(messages_console())
    runtime = Runtime("cpu")
    with (
        runtime.open(ImageEncoder, REFERENCE_BUNDLE) as encoder,
        runtime.open(FingerprintExtractor, DEFAULT_BUNDLE) as extractor,
    ):
        samples = samples_from_folders(photos, sources, encoder, extractor, watch)
        head, worth = head_from_samples(samples, encoder.source, extractor.digest)
    write_head(output, head)
    say(f"{output}: {len(samples.rows)} looks; left out: {summary(worth)}")
