"""Where a scan's time goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

from lineup.results import STAGES, Attribution

THREADED_STAGES = frozenset({"read", "decode", "preprocess"})


class MainStage(str, Enum):
    """What the scanning thread does besides the model."""

    WAIT = "wait"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class StageShare:
    """Time of one stage over a whole scan.

    Attributes:
        name: "read", "decode", "preprocess" (in the reader threads), "wait" (for the readers),
            "inference", "fuse", "write" (in the scanning thread).
        busy_seconds: Summed over the images.
        threads: Threads that do this stage.
        share: `busy_seconds` out of the scan's wall time times `threads`, 0..1. The shares of the
            scanning thread's stages add up to 1 but for the engine's own Python code.
    """

    name: str
    busy_seconds: float
    threads: int
    share: float


@dataclass(frozen=True, slots=True)
class ScanSummary:
    """A scan in numbers.

    Attributes:
        images: Rows made.
        failed: Rows with an error among them.
        skipped: Images whose row existed already.
        seconds: Wall time from the first path to the last row.
        images_per_second: Rows made per second of wall time.
        stages: Where the time went.
    """

    images: int
    failed: int
    skipped: int
    seconds: float
    images_per_second: float
    stages: tuple[StageShare, ...]


class ScanMeter:
    """Counts rows and time while a scan runs; `summary` may be asked for at any moment."""

    def __init__(self, workers: int) -> None:
        self.images = 0
        self.failed = 0
        self.skipped = 0
        self._workers = workers
        self._busy_seconds = dict.fromkeys((*STAGES[:3], "wait", *STAGES[3:], "write"), 0.0)
        self._started: float | None = None

    def start(self) -> None:
        """Start the clock, once."""
        if self._started is None:
            self._started = time.perf_counter()

    def add_row(self, row: Attribution) -> None:
        """Count a row and its stage times."""
        self.images += 1
        self.failed += row.error is not None
        for stage in STAGES:
            self._busy_seconds[stage] += (getattr(row.ms, stage) or 0.0) / 1e3

    def add_skipped(self) -> None:
        """Count an image whose row existed already."""
        self.skipped += 1

    @contextmanager
    def timed(self, stage: MainStage) -> Iterator[None]:
        """Count the time of the block as `stage`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._busy_seconds[stage.value] += time.perf_counter() - started

    def summary(self) -> ScanSummary:
        """Return what has been counted since the start."""
        seconds = 0.0 if self._started is None else time.perf_counter() - self._started
        return ScanSummary(
            images=self.images,
            failed=self.failed,
            skipped=self.skipped,
            seconds=seconds,
            images_per_second=self.images / seconds if seconds else 0.0,
            stages=tuple(self._share(name, seconds) for name in self._busy_seconds),
        )

    def _share(self, name: str, seconds: float) -> StageShare:
        threads = self._workers if name in THREADED_STAGES else 1
        busy = self._busy_seconds[name]
        return StageShare(name, busy, threads, busy / (seconds * threads) if seconds else 0.0)


def line_from_summary(summary: ScanSummary) -> str:
    """Return e.g. "312 images, 3 failed, 14.2 images/s"."""
    skipped = f", {summary.skipped} already done" if summary.skipped else ""
    return (
        f"{summary.images} images, {summary.failed} failed{skipped}, "
        f"{summary.images_per_second:.1f} images/s"
    )


def table_from_summary(summary: ScanSummary) -> str:
    """Return one line per stage: name, busy seconds, and the share of its threads' wall time."""
    lines = [f"{'stage':<12}{'busy s':>9}{'share':>8}"]
    for stage in summary.stages:
        where = (
            "scanning thread"
            if stage.name not in THREADED_STAGES
            else f"{stage.threads} reader thread{'s' if stage.threads > 1 else ''}"
        )
        lines.append(f"{stage.name:<12}{stage.busy_seconds:>9.2f}{stage.share:>8.1%}  of {where}")
    lines.append(f"{'wall':<12}{summary.seconds:>9.2f}")
    return "\n".join(lines)
