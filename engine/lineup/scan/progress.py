"""A progress bar on the terminal, for who waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from lineup.scan.meter import ScanMeter


class _Total:
    """Counts the images on a thread of its own, so that a long listing delays nothing."""

    def __init__(self, paths: Iterable[Path] | None) -> None:
        self.count: int | None = None
        self._stopped = threading.Event()
        if paths is not None:
            threading.Thread(target=self._run, args=(paths,), daemon=True).start()

    def _run(self, paths: Iterable[Path]) -> None:
        count = 0
        for count, _ in enumerate(paths, start=1):  # noqa: B007 - the last value is the answer
            if self._stopped.is_set():
                return
        self.count = count

    def stop(self) -> None:
        self._stopped.set()


@contextmanager
def scan_progress(meter: ScanMeter, paths: Iterable[Path] | None) -> Iterator[Callable[[], None]]:
    """Show how far a scan is, on stderr; yields what to call after every row.

    Args:
        meter: Of the scan.
        paths: The images again, to be counted while the scan runs already; None when they cannot be
            listed twice. Until they are counted the bar has no end.
    """
    total = _Total(paths)
    progress = Progress(
        TextColumn("scan"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[details]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with progress:
        task = progress.add_task("scan", total=None, details="")

        def update() -> None:
            summary = meter.summary()
            failed = f", {summary.failed} failed" if summary.failed else ""
            progress.update(
                task,
                total=total.count,
                completed=summary.images + summary.skipped,
                details=f"{summary.images_per_second:.1f} images/s{failed}",
            )

        try:
            yield update
        finally:
            total.stop()
