"""`lineup train fingerprint`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lineup.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from lineup_models.oneforall.loop import Item
    from lineup_models.oneforall.presets import Stage

STAGES = ("denoiser", "simulator", "extractor", "heads")
PRESETS = ("cpu", "gpu", "published")


@click.command()
@click.option(
    "--photos",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of photographs, searched recursively. None may come from a generator.",
)
@click.option(
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the run; the same command goes on with an interrupted one.",
)
@click.option("--preset", type=click.Choice(PRESETS), default="cpu", show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
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
@click.option(
    "--threads", type=click.IntRange(min=1), default=None, help="CPU threads. Default: all cores."
)
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
    from rich.console import Console

    chosen = None if stages is None else _stages_from_text(stages)

    from lineup_models.oneforall.device import deterministic, device_named
    from lineup_models.oneforall.plot import write_loss_plot
    from lineup_models.oneforall.presets import PRESETS as KNOWN
    from lineup_models.oneforall.training import RunOptions, train_fingerprint

    options = RunOptions(
        preset=KNOWN[preset],
        seed=seed,
        lpips=lpips,
        device=device_named(device or ("cuda" if preset == "gpu" else "cpu")),
        simulators=simulators,
    )
    with deterministic(threads=threads):
        record = train_fingerprint(
            photos, options, output, stages=chosen, watch=Progress(Console(stderr=True))
        )
    plot = write_loss_plot(output)
    took = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in record["seconds"].items())
    click.echo(f"{output}: {took}{f'; losses in {plot}' if plot else ''}")


def _stages_from_text(text: str) -> tuple[Stage, ...]:
    from lineup_models.oneforall.presets import Stage

    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in STAGES]
    if unknown:
        raise UsageError(
            f"There is no stage {unknown[0]!r}.", hint=f"Choose from {', '.join(STAGES)}."
        )
    return tuple(Stage(name) for name in names)


class Progress:
    """Shows a progress bar per stage on a terminal, and nothing elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def __call__(self, name: str, items: Sequence[Item]) -> Iterable[Item]:
        """Yield `items`."""
        if not self.console.is_terminal:
            return items
        from rich.progress import track

        return track(items, description=name, console=self.console)
