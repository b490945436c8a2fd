"""Repeating a workload: warm-up, then the runs asked for, watched for memory and power."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import Enum

import numpy as np

from lineup.errors import UsageError
from lineup.memory import MemoryWatch, PeakMemory
from lineup_lab.bench.power import Power, PowerWatch, Sensor
from lineup_lab.bench.workloads import Workload

STEADY_VARIATION = 0.05
"""Coefficient of variation above which a mean says little about the next run."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A sample of latencies in milliseconds.

    Attributes:
        count: Measurements.
        min: Smallest.
        mean: Arithmetic mean.
        median: The 50th percentile; so is `p50`, by the name that the percentiles share.
        p90: 90 of 100 runs were at most this long; MLPerf's figure for single stream.
        p95: 95th percentile.
        p99: 99th percentile; from fewer than 100 runs it is close to the largest.
        cv: Standard deviation out of the mean; 0 for a single run.
    """

    count: int
    min: float
    mean: float
    median: float
    p50: float
    p90: float
    p95: float
    p99: float
    cv: float

    @property
    def is_steady(self) -> bool:
        """Whether runs vary little enough for the mean to describe the next one."""
        return self.cv <= STEADY_VARIATION

    def as_dict(self) -> dict[str, float]:
        """Return plain numbers for JSON, rounded to a microsecond."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def summary_from_ms(samples: Sequence[float]) -> Summary:
    """Summarise latencies; percentiles are interpolated linearly.

    Args:
        samples: At least one, in milliseconds.

    Raises:
        UsageError: There is no sample.
    """
    if not samples:
        raise UsageError("Nothing was measured.", hint="Raise --iterations or --duration.")
    values = np.asarray(samples, np.float64)
    p50, p90, p95, p99 = np.percentile(values, [50, 90, 95, 99]).tolist()
    mean = float(values.mean())
    deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return Summary(
        count=len(values),
        min=float(values.min()),
        mean=mean,
        median=p50,
        p50=p50,
        p90=p90,
        p95=p95,
        p99=p99,
        cv=deviation / mean if mean else 0.0,
    )


class BenchMode(str, Enum):
    """How work arrives, as MLPerf Inference defines its scenarios.

    `SINGLE_STREAM` sends one query after the other and reports the 90th percentile of latency;
    `OFFLINE` has all queries at hand from the start and reports throughput.
    """

    SINGLE_STREAM = "single-stream"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """How long to measure.

    Attributes:
        mode: How work arrives.
        iterations: Fewest runs that are measured.
        duration_s: Shortest time that is measured; both have to be met.
        warmup: Runs before, not measured.
        batch: Pieces of work handed over at once in offline mode.
    """

    mode: BenchMode = BenchMode.SINGLE_STREAM
    iterations: int = 10
    duration_s: float = 3.0
    warmup: int = 2
    batch: int = 16

    @property
    def pieces_per_run(self) -> int:
        """Pieces of work in one measured run."""
        return self.batch if self.mode is BenchMode.OFFLINE else 1


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a workload was measured to cost, warm.

    Attributes:
        latency: Of one run, end to end: one piece of work, or one batch of them offline.
        stages: Of each stage, in their order.
        throughput_per_s: Pieces of work per second of wall time.
        memory: Peaks over warm-up and runs; None where the system does not tell.
        power: None without a readable sensor.
    """

    latency: Summary
    stages: dict[str, Summary]
    throughput_per_s: float
    memory: PeakMemory | None
    power: Power | None


def measure(
    workload: Workload,
    options: BenchOptions,
    *,
    sensor: Sensor | None = None,
    on_run: Callable[[int], None] | None = None,
) -> Measurement:
    """Run a workload repeatedly.

    Args:
        workload: What to measure.
        options: How long.
        sensor: Power sensor to read meanwhile.
        on_run: Told the number of measured runs after each of them.
    """
    with MemoryWatch() as memory, PowerWatch(sensor) as power:
        pieces = options.pieces_per_run
        for run in range(options.warmup):
            workload.run_batch(run * pieces, pieces)
        latencies: list[float] = []
        stages: dict[str, list[float]] = {}
        started = time.perf_counter()
        while (
            len(latencies) < options.iterations
            or time.perf_counter() - started < options.duration_s
        ):
            start = time.perf_counter()
            first = (options.warmup + len(latencies)) * pieces
            parts = workload.run_batch(first, pieces)
            latencies.append((time.perf_counter() - start) * 1e3)
            for name, ms in parts.items():
                stages.setdefault(name, []).append(ms)
            if on_run is not None:
                on_run(len(latencies))
        elapsed = time.perf_counter() - started
        peak = memory.peak
    return Measurement(
        latency=summary_from_ms(latencies),
        stages={name: summary_from_ms(samples) for name, samples in stages.items()},
        throughput_per_s=len(latencies) * pieces / elapsed,
        memory=peak,
        power=power.power,
    )
