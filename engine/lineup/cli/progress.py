"""Progress and messages of commands that go through many files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lineup.cli.files import failure_line

if TYPE_CHECKING:
    from rich.console import Console

    from lineup.stream import StreamedImage

    OnFile = Callable[[StreamedImage], None]


@contextmanager
def progress_of_files(messages: Console, total: int, label: str) -> Iterator[OnFile]:
    """Yield what to call after each file: a bar on a terminal, a line for every file that failed.

    Args:
        messages: Where both go.
        total: Number of files.
        label: Shown in front of the bar.
    """
    from rich.progress import Progress

    # Not redirected: what goes to standard output would end up on standard error with the bar.
    with Progress(
        console=messages,
        transient=True,
        redirect_stdout=False,
        disable=not messages.is_terminal,
    ) as progress:
        task = progress.add_task(label, total=total)

        def on_file(image: StreamedImage) -> None:
            progress.advance(task)
            if image.error is not None:
                say(messages, failure_line(image.path, image.error.message))

        yield on_file


def say(messages: Console, text: str) -> None:
    """Print one line as it is: names are neither markup nor broken at the console's width."""
    messages.print(text, markup=False, highlight=False, soft_wrap=True)
