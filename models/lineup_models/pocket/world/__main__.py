"""`python -m lineup_models.pocket.world`: a look at the pocket world."""

from __future__ import annotations

from math import ceil, sqrt
from pathlib import Path

import click
import cv2
import numpy as np

from lineup.files import write_atomic
from lineup.types import RgbImage
from lineup_models.pocket.world.render import pixels_from_scene
from lineup_models.pocket.world.scene import scene_from_seed

PAPER = 255
GAP_PX = 4


def sheet_from_seeds(seeds: range, size_px: int = 256) -> RgbImage:
    """Draw one picture for each seed, row by row on white; uint8 RGB."""
    columns = ceil(sqrt(len(seeds)))
    rows = ceil(len(seeds) / columns)
    cell = size_px + GAP_PX
    sheet = np.full((rows * cell + GAP_PX, columns * cell + GAP_PX, 3), PAPER, np.uint8)
    for index, seed in enumerate(seeds):
        top, left = (GAP_PX + cell * place for place in divmod(index, columns))
        pixels = pixels_from_scene(scene_from_seed(seed), seed, size_px)
        sheet[top : top + size_px, left : left + size_px] = pixels
    return sheet


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
    pixels = sheet_from_seeds(seeds, size)
    write_atomic(output, cv2.imencode(".png", pixels[..., ::-1])[1].tobytes())
    for number in seeds:
        click.echo(f"{number}: {scene_from_seed(number).captions()[0]}")


if __name__ == "__main__":
    world(prog_name="python -m lineup_models.pocket.world")
