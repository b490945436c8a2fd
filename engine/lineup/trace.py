"""What work on an image cost: which stages ran, how often, for what, and how long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

CAPTION = "caption"
TEXT = "text encoder"
GENERATE = "generate"
ENCODE = "encoder"
FINGERPRINT = "fingerprint"
PIXELS = "structural similarity"

ASK = "ask"
"""A command of the user's for pictures, or those that it made before."""

LOAD = "load"
"""A generator's trace calls loading its graphs so."""


@dataclass(slots=True)
class Cost:
    """What a stage or a graph cost so far.

    Attributes:
        calls: How often its model was called, or the graph ran.
        items: Captions, prompts or images that came out.
        cached: Items that were taken from the cache and cost nothing here.
        seconds: Time spent, without what the cache took.
    """

    calls: int = 0
    items: int = 0
    cached: int = 0
    seconds: float = 0.0


class Trace:
    """Adds up what ran; stages may come in any order and repeatedly.

    A query has one for its resynthesis; a generator has one, whose stages are its graphs.

    Attributes:
        stages: Cost per stage that had anything to do, in the order of first use.
        graphs: Cost per graph of the generators that ran, `LOAD` among them; part of the stage that
            ran it.
        seconds: Time spent on this query, the cache and all bookkeeping included; what other
            queries of the same chunk took meanwhile is not.
    """

    def __init__(self) -> None:
        self.stages: dict[str, Cost] = {}
        self.graphs: dict[str, Cost] = {}
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time of the block; blocks do not nest."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - start

    @contextmanager
    def call(self, stage: str, items: int = 1) -> Iterator[None]:
        """Time one call of a stage's model, which gives `items` results."""
        with self.part(stage):
            yield
        cost = self.stages[stage]
        cost.calls += 1
        cost.items += items

    @contextmanager
    def part(self, stage: str) -> Iterator[None]:
        """Time work that leads to results of a stage, which are counted when they are there."""
        start = time.perf_counter()
        try:
            yield
        finally:
            cost = self.stages.setdefault(stage, Cost())
            cost.seconds += time.perf_counter() - start

    def add_cached(self, stage: str, items: int) -> None:
        """Count results that the cache had."""
        if items:
            self.stages.setdefault(stage, Cost()).cached += items

    @contextmanager
    def graphs_of(self, generator: Trace) -> Iterator[None]:
        """Count what a generator's graphs do inside of the block."""
        before = {name: (cost.calls, cost.seconds) for name, cost in generator.stages.items()}
        yield
        for name, cost in generator.stages.items():
            calls, seconds = before.get(name, (0, 0.0))
            if cost.calls > calls:
                total = self.graphs.setdefault(name, Cost())
                total.calls += cost.calls - calls
                total.seconds += cost.seconds - seconds

    def stage(self, name: str) -> Cost:
        """Return the cost of a stage; zeros when it had nothing to do."""
        return self.stages.get(name, Cost())

    @property
    def calls(self) -> dict[str, int]:
        """Calls per stage, in the order of first use."""
        return {name: cost.calls for name, cost in self.stages.items()}

    @property
    def ms(self) -> dict[str, float]:
        """Milliseconds per stage, in the order of first use."""
        return {name: 1e3 * cost.seconds for name, cost in self.stages.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return the trace as JSON values.

        Keys: stages [{stage, calls, items, cached, seconds}], graphs [{graph, runs, seconds}] and
        seconds.
        """
        return {
            "stages": [{"stage": name, **asdict(cost)} for name, cost in self.stages.items()],
            "graphs": [
                {"graph": name, "runs": cost.calls, "seconds": cost.seconds}
                for name, cost in self.graphs.items()
            ],
            "seconds": self.seconds,
        }
