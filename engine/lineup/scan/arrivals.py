"""The images of a folder that is being filled: those that are there, then each when it is complete.

A file is complete when it has not changed for a while: whoever writes it does not tell which byte
is the last. One that goes on later comes again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from threading import Event

from lineup.errors import require_extra
from lineup.files import state_from_file
from lineup.finding import IMAGE_SUFFIXES, find_images

TICK_MS = 100


def arrivals(folder: Path, stop: Event, *, settle_seconds: float) -> Iterator[list[Path]]:
    """Yield images in groups until `stop` is set; folders inside are watched too.

    Hidden entries and names without an image suffix are left out, as by `find_images`.

    Args:
        folder: Must exist.
        stop: Ends it within a tenth of a second.
        settle_seconds: How long a file must not have changed.

    Raises:
        MissingExtraError: watchfiles is not installed.
    """
    require_extra("watch", ["watchfiles"])
    from watchfiles import Change, watch  # noqa: PLC0415 - an extra

    root = folder.absolute()
    waiting = _Waiting(settle_seconds)
    ticks = watch(
        root,
        watch_filter=None,
        stop_event=stop,
        debounce=TICK_MS,
        rust_timeout=TICK_MS,
        yield_on_timeout=True,
        ignore_permission_denied=True,
    )
    first = next(ticks, set())
    # Listed when it is watched already, so that nothing arrives unseen in between.
    waiting.add_listed(find_images([folder]))
    for changes in chain([first], ticks):
        for kind, name in changes:
            inside = Path(name).relative_to(root)
            if any(part.startswith(".") for part in inside.parts):
                continue
            if kind is Change.deleted:
                waiting.forget(folder / inside)
            else:
                waiting.add(folder / inside)
        ready = waiting.ready()
        if ready:
            yield ready


class _Waiting:
    """Files and folders that may still change, each with what it was like and since when."""

    def __init__(self, settle_seconds: float) -> None:
        self._settle_seconds = settle_seconds
        self._seen: dict[Path, tuple[tuple[int, int, int] | None, float]] = {}
        self._old: list[Path] = []

    def add(self, path: Path) -> None:
        """Wait for what has changed just now, if it is an image or a folder."""
        if path.suffix.lower() in IMAGE_SUFFIXES or path.is_dir():
            self._seen[path] = state_from_file(path), time.monotonic()

    def add_listed(self, paths: Iterable[Path]) -> None:
        """Take images that have not changed for long as complete, and wait for the others."""
        for path in paths:
            state = state_from_file(path)
            if state is None or time.time() - state[-1] / 1e9 >= self._settle_seconds:
                self._old.append(path)
            else:
                self._seen[path] = state, time.monotonic()

    def forget(self, path: Path) -> None:
        """Wait no more for what is gone."""
        self._seen.pop(path, None)

    def ready(self) -> list[Path]:
        """Return the images that are complete now, by name; they are waited for no more."""
        now = time.monotonic()
        for path, (state, since) in list(self._seen.items()):
            if now - since < self._settle_seconds:
                continue
            found = state_from_file(path)
            if found is not None and found != state:
                self._seen[path] = found, now
                continue
            del self._seen[path]
            if found is None:  # gone: what happened to a path is told without its order
                continue
            if path.is_dir():  # moved here as a whole, so that its files are news to nobody
                self.add_listed(find_images([path]))
            else:
                self._old.append(path)
        ready, self._old = sorted(self._old), []
        return ready
