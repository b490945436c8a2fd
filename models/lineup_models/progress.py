"""Progress of a training, shown where somebody looks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

Item = TypeVar("Item")


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
