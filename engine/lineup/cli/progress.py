"""The image files of a command line: finding them, progress, what is said of those that failed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lineup.cli.tables import messages_console, say
from lineup.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from lineup.scan.meter import ScanMeter
    from lineup.stream import StreamedImage

    OnFile = Callable[[StreamedImage], None]

Item = TypeVar("Item")

SOME_FAILED = 1
"""Exit code of a command that went on past images which it could not use."""


def images_from_arguments(arguments: Sequence[str]) -> list[Path]:
    """Return the images that paths, folders and patterns stand for.

    Raises:
        UsageError: There are none, or a path does not exist.
    """
    from lineup.finding import find_images

    paths = list(find_images(arguments))
    if not paths:
        raise no_images(arguments)
    return paths


def no_images(arguments: Sequence[str]) -> UsageError:
    """Return the error for arguments that stand for nothing."""
    return UsageError(
        f"No images in {', '.join(arguments)}.",
        hint="Folders are searched for files with the suffix of an image format; a file that is "
        "named itself is always tried.",
    )


def failure_line(path: str | Path, message: str) -> str:
    """Return what is said of a file that failed; most messages name it themselves."""
    return message if str(path) in message else f"{path}: {message}"


def tracked(
    items: Iterable[Item], label: str, messages: Console, *, total: int | None = None
) -> Iterator[Item]:
    """Yield items, with a bar on a terminal.

    Args:
        items: What there is to do.
        label: Shown in front of the bar.
        messages: Where the bar is.
        total: Number of items; None where their length tells.
    """
    with _bar(messages) as progress:
        yield from progress.track(items, description=label, total=total)


@contextmanager
def progress_of_files(total: int, label: str) -> Iterator[OnFile]:
    """Yield what to call after each file: a bar on a terminal, a line for every file that failed.

    Args:
        total: Number of files.
        label: Shown in front of the bar.
    """
    messages = messages_console()
    with _bar(messages) as progress:
        task = progress.add_task(label, total=total)

        def on_file(image: StreamedImage) -> None:
            progress.advance(task)
            if image.error is not None:
                say(failure_line(image.path, image.error.message), console=messages)

        yield on_file


def _bar(messages: Console) -> Progress:
    from rich.progress import Progress

    # Not redirected: what goes to standard output would end up on standard error with the bar.
    return Progress(
        console=messages, transient=True, redirect_stdout=False, disable=not messages.is_terminal
    )


@contextmanager
def scan_progress(meter: ScanMeter, paths: Iterable[Path] | None) -> Iterator[Callable[[], None]]:
    """Show how far a scan is, on stderr; yields what to call after every row.

    Args:
        meter: Of the scan.
        paths: The images again, to be counted while the scan runs already; None when they cannot be
            listed twice. Until they are counted the bar has no end.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    total: int | None = None
    stopped = threading.Event()

    def count(paths: Iterable[Path]) -> None:
        nonlocal total
        counted = 0
        for counted, _ in enumerate(paths, start=1):  # noqa: B007 - the last value is the answer
            if stopped.is_set():
                return
        total = counted

    if paths is not None:  # on a thread of its own, so that a long listing delays nothing
        threading.Thread(target=count, args=(paths,), daemon=True).start()
    progress = Progress(
        TextColumn("scan"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[details]}"),
        TimeRemainingColumn(),
        console=messages_console(),
        transient=True,
    )
    with progress:
        task = progress.add_task("scan", total=None, details="")

        def update() -> None:
            summary = meter.summary()
            failed = f", {summary.failed} failed" if summary.failed else ""
            progress.update(
                task,
                total=total,
                completed=summary.images + summary.skipped,
                details=f"{summary.images_per_second:.1f} images/s{failed}",
            )

        try:
            yield update
        finally:
            stopped.set()
