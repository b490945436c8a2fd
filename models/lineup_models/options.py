"""Options that the commands of training share, written once so that they read alike everywhere."""

from __future__ import annotations

from pathlib import Path

import click

photos_option = click.option(
    "--photos",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of photographs, searched recursively. None may come from a generator.",
)
hold_out_option = click.option(
    "--hold-out",
    type=click.IntRange(min=0),
    default=150,
    show_default=True,
    help="Photographs kept apart for evaluation: the lowest by SHA-256 of the file name.",
)
run_folder_option = click.option(
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the run; the same command goes on with an interrupted one.",
)
seed_option = click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
threads_option = click.option(
    "--threads", type=click.IntRange(min=1), default=None, help="CPU threads. Default: all cores."
)
