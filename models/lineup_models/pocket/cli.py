"""`lineup train pocket`."""

from __future__ import annotations

from pathlib import Path

import click

from lineup.cli.tables import messages_console, say
from lineup_models.options import Progress, run_folder_option, seed_option

PRESETS = ("cpu", "gpu")
STAGES = ("world", "tokenizer", "vaes", "clip", "captioner", "teacher", "pairs", "students")


@click.command()
@run_folder_option
@click.option("--preset", type=click.Choice(PRESETS), default="cpu", show_default=True)
@seed_option
@click.option(
    "--only",
    multiple=True,
    metavar="STAGE",
    help=f"One of {', '.join(STAGES)}, or one model of a stage, such as vae-fern or pocket-ash; "
    "may be given several times. Default: all.",
)
@click.option("--device", default=None, help="cpu or cuda. Default: what the preset is named for.")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=None,
    help="CPU threads, and processes that render pictures. Default: all cores.",
)
def pocket(
    *,
    output: Path,
    preset: str,
    seed: int,
    only: tuple[str, ...],
    device: str | None,
    threads: int | None,
) -> None:
    """Train the pocket lineup: captioner, CLIP, autoencoders, teacher, one-step generators.

    Nothing but a seed is needed: a drawn world gives the pictures and their captions. Stages that
    do not need each other may run at the same time, each in a process with --only.
    """
    import os

    from lineup_models.pictures import write_loss_plot
    from lineup_models.pocket.presets import PRESETS as KNOWN
    from lineup_models.pocket.run import Run
    from lineup_models.pocket.training import train_pocket
    from lineup_models.training import deterministic, device_named

    with deterministic(threads=threads):
        run = Run(
            KNOWN[preset],
            output,
            seed=seed,
            device=device_named(device or ("cuda" if preset == "gpu" else "cpu")),
            workers=threads or os.cpu_count() or 1,
            watch=Progress(messages_console()),
        )
        records = train_pocket(run, only=only)
    plot = write_loss_plot(output)
    took = ", ".join(f"{name} {record['seconds']:.0f} s" for name, record in records.items())
    say(f"{output}: {took}{f'; losses in {plot}' if plot else ''}")
