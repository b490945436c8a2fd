"""What the commands of training share: options that read alike everywhere, and progress."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console

Item = TypeVar("Item")

photos_option = click.option(
    "--photos",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of photographs, searched recursively. None may come from a generator.",
)
folders_option = click.option(
    "--photos",
    required=True,
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of photographs, searched recursively; may be given again.",
)
hold_out_option = click.option(
    "--hold-out",
    type=click.IntRange(min=0),
    default=120,
    show_default=True,
    help="Photographs kept apart for evaluation: the lowest by SHA-256 of the file name.",
)
run_folder_option = click.option(
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the run; the same command goes on with an interrupted one.",
)
seed_option = click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True
)
threads_option = click.option(
    "--threads", type=click.IntRange(1, 1024), default=None, help="CPU threads. Default: all cores."
)


class Progress:
    """Shows a progress bar per stage on a terminal, and nothing elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def __call__(self, name: str, items: Iterable[Item]) -> Iterable[Item]:
        """Yield `items`."""
        if not self.console.is_terminal:
            return items
        from rich.progress import track  # noqa: PLC0415 - slow to import, and few look

        return track(items, description=name, console=self.console)
