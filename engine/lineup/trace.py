"""What models cost: calls, what they were called for, and time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

CAPTION = "caption"
TEXT = "text encoder"
GENERATE = "generate"
ENCODE = "encoder"
FINGERPRINT = "fingerprint"
PIXELS = "structural similarity"

LOAD = "load"
"""A generator's clock calls loading its graphs so."""

STAGES = (CAPTION, TEXT, GENERATE, ENCODE, FINGERPRINT, PIXELS)
"""In the order of the work."""


@dataclass(frozen=True, slots=True)
class StageCost:
    """What one stage cost for one query.

    Attributes:
        stage: One of `STAGES`.
        calls: How often its model was called.
        items: Captions, prompts or images that came out.
        cached: Items that were taken from the cache and cost nothing here.
        seconds: Time spent, without what the cache took.
    """

    stage: str
    calls: int = 0
    items: int = 0
    cached: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class GraphCost:
    """What one graph of the generators cost, all candidates together.

    Attributes:
        graph: Its role, e.g. "unet"; `LOAD` for loading graphs.
        runs: How often it ran.
        seconds: Time spent; part of the stage that ran it.
    """

    graph: str
    runs: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ResynthesisCost:
    """What resynthesis cost for one query.

    Attributes:
        stages: One per stage that had anything to do, in the order of the work.
        graphs: One per graph of the generators that ran.
        seconds: Time spent on this query, the cache and all bookkeeping included; what other
            queries of the same chunk took meanwhile is not.
    """

    stages: tuple[StageCost, ...]
    graphs: tuple[GraphCost, ...]
    seconds: float

    @property
    def graph_runs(self) -> dict[str, int]:
        """Runs per graph, loading left out."""
        return {one.graph: one.runs for one in self.graphs if one.graph != LOAD}

    def stage(self, name: str) -> StageCost:
        """Return one stage; zeros when it had nothing to do."""
        return next((one for one in self.stages if one.stage == name), StageCost(name))


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


class CostMeter:
    """Collects the cost of one query; stages may come in any order and repeatedly."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._stages: dict[str, StageCost] = {}
        self._graphs: dict[str, GraphCost] = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time of the block; blocks do not nest."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds += time.perf_counter() - start

    @contextmanager
    def call(self, stage: str, items: int) -> Iterator[None]:
        """Time one call of a stage's model, which gives `items` results."""
        with self.part(stage):
            yield
        self._add(stage, calls=1, items=items)

    @contextmanager
    def part(self, stage: str) -> Iterator[None]:
        """Time work that leads to results of a stage, which are counted when they are there."""
        start = time.perf_counter()
        yield
        self._add(stage, seconds=time.perf_counter() - start)

    def add_cached(self, stage: str, items: int) -> None:
        """Count results that the cache had."""
        if items:
            self._add(stage, cached=items)

    @contextmanager
    def graphs_of(self, clock: StageClock) -> Iterator[None]:
        """Count what a generator's graphs do inside of the block."""
        runs, ms = dict(clock.calls), dict(clock.ms)
        yield
        for graph, total in clock.calls.items():
            new = total - runs.get(graph, 0)
            if new:
                old = self._graphs.get(graph, GraphCost(graph, 0, 0.0))
                seconds = (clock.ms[graph] - ms.get(graph, 0.0)) / 1e3
                self._graphs[graph] = GraphCost(graph, old.runs + new, old.seconds + seconds)

    def cost(self) -> ResynthesisCost:
        """Return what was collected until now."""
        return ResynthesisCost(
            stages=tuple(self._stages[name] for name in STAGES if name in self._stages),
            graphs=tuple(self._graphs.values()),
            seconds=self._seconds,
        )

    def seconds(self, *stages: str) -> float:
        """Return the time spent on some stages until now."""
        return sum(self._stages[name].seconds for name in stages if name in self._stages)

    def _add(
        self, stage: str, *, calls: int = 0, items: int = 0, cached: int = 0, seconds: float = 0.0
    ) -> None:
        old = self._stages.get(stage, StageCost(stage))
        self._stages[stage] = StageCost(
            stage=stage,
            calls=old.calls + calls,
            items=old.items + items,
            cached=old.cached + cached,
            seconds=old.seconds + seconds,
        )
