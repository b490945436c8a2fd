"""`python -m lineup_models.pocket.world`: a look at the pocket world."""

from __future__ import annotations

from math import ceil, sqrt
from pathlib import Path

import click
import numpy as np

from lineup.cli.tables import say
from lineup_models.pictures import write_sheet
from lineup_models.pocket.world.render import pixels_from_scene
from lineup_models.pocket.world.scene import scene_from_seed


@click.group()
def world() -> None:
    """Look at the pocket world."""


@world.command(short_help="Write a contact sheet.")
@click.option(
    "--output",
    "-o",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="PNG to write.",
)
@click.option("--count", type=click.IntRange(1, 400), default=25, show_default=True)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the first picture."
)
@click.option(
    "--size", type=click.IntRange(64, 1024), default=256, show_default=True, help="Pixels."
)
def sheet(output: Path, count: int, seed: int, size: int) -> None:
    """Write a contact sheet; the captions go to stdout, one a line, row by row."""
    seeds = range(seed, seed + count)
    pixels = [pixels_from_scene(scene_from_seed(seed), seed, size) for seed in seeds]
    columns = ceil(sqrt(count))
    # The last row is filled up with white, so that all are of one length.
    pixels += [np.full_like(pixels[0], 255)] * (-count % columns)
    rows = [np.stack(pixels[at : at + columns]) for at in range(0, len(pixels), columns)]
    write_sheet(output, rows)
    for number in seeds:
        say(f"{number}: {scene_from_seed(number).captions()[0]}")


if __name__ == "__main__":
    world(prog_name="python -m lineup_models.pocket.world")
