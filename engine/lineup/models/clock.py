"""What the stages of a generator cost: milliseconds and calls per stage."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class StageClock:
    """Adds up time and calls per stage.

    Attributes:
        ms: Milliseconds per stage, in the order of first use.
        calls: Runs of a graph per stage.
    """

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}
        self.calls: Counter[str] = Counter()

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Count a call of a stage and add the time of the block to it."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.ms[stage] = self.ms.get(stage, 0.0) + (time.perf_counter() - start) * 1e3
            self.calls[stage] += 1

    def reset(self) -> None:
        """Forget everything."""
        self.ms.clear()
        self.calls.clear()
