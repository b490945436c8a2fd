"""`lineup train fingerprint`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lineup.cli.tables import messages_console, say
from lineup.errors import UsageError
from lineup_models.options import (
    Progress,
    photos_option,
    run_folder_option,
    seed_option,
    threads_option,
)

if TYPE_CHECKING:
    from lineup_models.research.oneforall.presets import Stage

STAGES = ("denoiser", "simulator", "extractor", "heads")
PRESETS = ("cpu", "gpu", "published")


@click.command()
@photos_option
@run_folder_option
@click.option("--preset", type=click.Choice(PRESETS), default="cpu", show_default=True)
@seed_option
@click.option(
    "--stages",
    default=None,
    metavar="STAGE,...",
    help=f"Which of {', '.join(STAGES)} to go through. Default: all the preset needs.",
)
@click.option("--device", default=None, help="cpu or cuda; cuda for the gpu preset.")
@click.option("--lpips", is_flag=True, help="Judge the simulator by the published LPIPS.")
@click.option(
    "--simulator",
    "simulators",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Weights of a trained simulator instead of that stage; may be given several times.",
)
@threads_option
def fingerprint(
    *,
    photos: Path,
    output: Path,
    preset: str,
    seed: int,
    stages: str | None,
    device: str | None,
    lpips: bool,
    simulators: tuple[Path, ...],
    threads: int | None,
) -> None:
    """Train the One-for-All fingerprint: denoiser, simulator, extractor, heads.

    Nothing but photographs is needed: a simulator of generators makes the rest.
    """
    chosen = None if stages is None else _stages_from_text(stages)

    from lineup_models.pictures import write_loss_plot
    from lineup_models.research.oneforall.presets import PRESETS as KNOWN
    from lineup_models.research.oneforall.training import RunOptions, train_fingerprint
    from lineup_models.training import deterministic, device_named

    options = RunOptions(
        preset=KNOWN[preset],
        seed=seed,
        lpips=lpips,
        device=device_named(device or ("cuda" if preset == "gpu" else "cpu")),
        simulators=simulators,
    )
    with deterministic(threads=threads):
        record = train_fingerprint(
            photos, options, output, stages=chosen, watch=Progress(messages_console())
        )
    plot = write_loss_plot(output)
    took = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in record["seconds"].items())
    say(f"{output}: {took}{f'; losses in {plot}' if plot else ''}")


def _stages_from_text(text: str) -> tuple[Stage, ...]:
    from lineup_models.research.oneforall.presets import Stage

    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in STAGES]
    if unknown:
        raise UsageError(
            f"There is no stage {unknown[0]!r}.", hint=f"Choose from {', '.join(STAGES)}."
        )
    return tuple(Stage(name) for name in names)
