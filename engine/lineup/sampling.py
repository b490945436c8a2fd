"""Sampling in a thread while something else is measured."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class Watch(ABC):
    """Takes samples in a thread, for the length of a `with` block.

    Args:
        interval_s: Time between samples.
        can_sample: Whether there is anything to read; no thread is started otherwise.
    """

    def __init__(self, interval_s: float, *, can_sample: bool) -> None:
        self._interval_s = interval_s
        self._can_sample = can_sample
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._can_sample:
            name = type(self).__name__
            self._thread = threading.Thread(target=self._follow, daemon=True, name=name)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    @abstractmethod
    def _sample(self) -> bool:
        """Take one sample; return whether there may be another."""

    def _follow(self) -> None:
        while not self._stop.wait(self._interval_s):
            if not self._sample():
                return
