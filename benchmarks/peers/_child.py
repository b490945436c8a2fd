"""How a peer talks to the harness: a request in its first argument, messages as JSON lines.

Whatever a library prints goes to standard error, so that only messages are on standard output.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from lineup.types import RgbImage

_BEGAN = time.perf_counter()
_MESSAGES = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)
_PACKAGES: list[str] = []


def request() -> dict[str, Any]:
    """Return what the harness asks for."""
    asked: dict[str, Any] = json.loads(sys.argv[1])
    return asked


def say(event: str, **figures: Any) -> None:
    """Tell the harness; it notes the time and the memory of this process."""
    _MESSAGES.write(json.dumps({"event": event, **figures}) + "\n")
    _MESSAGES.flush()


def seconds_since_start() -> float:
    """Return the seconds since this module was imported, the first thing a peer does."""
    return time.perf_counter() - _BEGAN


def about(*packages: str) -> None:
    """Let `measured` tell the versions of packages.

    Reading them takes 2 MiB, which is no part of what a program takes.
    """
    _PACKAGES.extend(packages)


def measured(**figures: Any) -> None:
    """Tell what was measured, and the versions of packages that are installed."""
    say("measured", **figures, versions=_versions(_PACKAGES))


def _versions(packages: Iterable[str]) -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - see `about`

    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what the work gave, and its seconds."""
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def measure_images(asked: dict[str, Any], draw: Callable[[], RgbImage]) -> None:
    """Draw once cold, then `repeat` times; tell every time, and keep the last image.

    Processor seconds, of all threads, are told beside: they change less with what else runs.

    Args:
        asked: The request: `repeat`, and `image`, a file for the image (NumPy).
        draw: Makes the image of the request, shape (height, width, 3), uint8.
    """
    image, first_s = timed(draw)
    say("first", first_s=first_s)
    seconds, cpu_seconds = [], []
    for _ in range(asked["repeat"]):
        started = time.process_time()
        image, one_s = timed(draw)
        seconds.append(one_s)
        cpu_seconds.append(time.process_time() - started)
    np.save(asked["image"], image)
    measured(runs_s=seconds, runs_cpu_s=cpu_seconds)
