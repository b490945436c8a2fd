"""`python -m lineup_models.pocket.world`: a look at the pocket world."""

from __future__ import annotations

from pathlib import Path

import click


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
    import cv2

    from lineup.files import write_atomic
    from lineup_models.pocket.world.scene import scene_from_seed
    from lineup_models.pocket.world.sheet import sheet_from_seeds

    seeds = range(seed, seed + count)
    pixels = sheet_from_seeds(seeds, size)
    write_atomic(output, cv2.imencode(".png", pixels[..., ::-1])[1].tobytes())
    for number in seeds:
        click.echo(f"{number}: {scene_from_seed(number).captions()[0]}")
