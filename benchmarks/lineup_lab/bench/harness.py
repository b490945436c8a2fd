"""Repeating a workload: warm-up, then the runs asked for, watched for memory and power."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from lineup.errors import UsageError
from lineup.machine import MemoryWatch, PeakMemory, Watch
from lineup_lab.bench.workloads import Workload

SAMPLE_INTERVAL_S = 0.2

INA_GLOB = "bus/i2c/drivers/ina3221/*/hwmon/hwmon*"
INA_TOTAL_LABELS = frozenset({"VDD_IN", "VIN_SYS_5V0", "POM_5V_IN", "POM_5V0_IN"})
"""Names of the rail that feeds a whole Jetson module."""

RAPL = "class/powercap/intel-rapl:0/energy_uj"


def summary_from_ms(samples: Sequence[float]) -> dict[str, float]:
    """Summarise latencies in milliseconds, rounded to a microsecond.

    Returns:
        `count`, `min`, `mean`, `median` (also as `p50`, by the name that percentiles share), `p90`
        (MLPerf's figure for single stream), `p95`, `p99` (from fewer than 100 runs it is close to
        the largest), and `cv`, the standard deviation out of the mean; 0 for a single run.
        Percentiles are interpolated linearly.

    Raises:
        UsageError: There is no sample.
    """
    if not samples:
        raise UsageError("Nothing was measured.", hint="Raise --iterations or --duration.")
    values = np.asarray(samples, np.float64)
    p50, p90, p95, p99 = np.percentile(values, [50, 90, 95, 99]).tolist()
    mean = float(values.mean())
    deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    figures = {
        "count": len(values),
        "min": float(values.min()),
        "mean": mean,
        "median": p50,
        "p50": p50,
        "p90": p90,
        "p95": p95,
        "p99": p99,
        "cv": deviation / mean if mean else 0.0,
    }
    return {name: round(value, 4) for name, value in figures.items()}


@dataclass(frozen=True, slots=True)
class Sensor:
    """A sensor that can be read.

    Attributes:
        name: What it measures.
        watts: Returns the power since the last call, or at this moment.
    """

    name: str
    watts: Callable[[], float]


def find_sensor(sysfs: Path = Path("/sys")) -> Sensor | None:
    """Return a sensor of the board, the GPU or the processor; None when none can be read."""
    for find in (_jetson_sensor, _rapl_sensor):
        sensor = find(sysfs)
        if sensor is not None:
            return sensor
    return _nvidia_sensor()


class PowerWatch(Watch):
    """Samples a sensor in a thread, for the length of a `with` block."""

    def __init__(self, sensor: Sensor | None) -> None:
        super().__init__(SAMPLE_INTERVAL_S, can_sample=sensor is not None)
        self._sensor = sensor
        self._samples: list[float] = []

    @property
    def power(self) -> dict[str, Any] | None:
        """Mean and peak in watts, and the sensor; None without one, or before its first sample."""
        if self._sensor is None or not self._samples:
            return None
        mean = sum(self._samples) / len(self._samples)
        peak = max(self._samples)
        return {"mean": round(mean, 2), "peak": round(peak, 2), "sensor": self._sensor.name}

    def _sample(self) -> bool:
        assert self._sensor is not None
        try:
            self._samples.append(self._sensor.watts())
        except (OSError, ValueError, subprocess.SubprocessError):
            return False  # the sensor went away; what was read before still holds
        return True


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
        latency: Of one run, end to end: one piece of work, or one batch of them offline; see
            `summary_from_ms`.
        stages: Of each stage, in their order.
        throughput_per_s: Pieces of work per second of wall time.
        memory: Peaks over warm-up and runs; None where the system does not tell.
        power: See `PowerWatch`.
    """

    latency: dict[str, float]
    stages: dict[str, dict[str, float]]
    throughput_per_s: float
    memory: PeakMemory | None
    power: dict[str, Any] | None


def measure(
    workload: Workload,
    options: BenchOptions,
    *,
    sensor: Sensor | None = None,
    on_run: Callable[[int], None] | None = None,
) -> Measurement:
    """Run a workload repeatedly; `on_run` is told the number of measured runs after each."""
    with MemoryWatch() as memory, PowerWatch(sensor) as power:
        pieces = options.pieces_per_run
        for run in range(options.warmup):
            workload.work(run * pieces, pieces)
        latencies: list[float] = []
        stages: dict[str, list[float]] = {}
        started = time.perf_counter()
        while (
            len(latencies) < options.iterations
            or time.perf_counter() - started < options.duration_s
        ):
            start = time.perf_counter()
            first = (options.warmup + len(latencies)) * pieces
            parts = workload.work(first, pieces)
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


def _jetson_sensor(sysfs: Path) -> Sensor | None:
    """Find the INA3221 channel of the whole module: millivolts times milliamperes."""
    for folder in sorted(sysfs.glob(INA_GLOB)):
        for label in sorted(folder.glob("in*_label")):
            name = _text(label)
            volts = label.with_name(label.name.replace("_label", "_input"))
            amperes = folder / volts.name.replace("in", "curr", 1)
            if name in INA_TOTAL_LABELS and _text(volts) and _text(amperes):
                return Sensor(
                    f"INA3221 {name}",
                    lambda v=volts, a=amperes: int(v.read_text()) * int(a.read_text()) / 1e6,  # type: ignore[misc]
                )
    return None


def _rapl_sensor(sysfs: Path) -> Sensor | None:
    """Find the energy counter of the processor package, which only root may read."""
    counter = sysfs / RAPL
    if not _text(counter):
        return None
    last = [(time.monotonic(), int(counter.read_text()))]

    def watts() -> float:
        now = time.monotonic(), int(counter.read_text())
        (before_s, before_uj), last[0] = last[0], now
        return max(0, now[1] - before_uj) / 1e6 / max(now[0] - before_s, 1e-6)

    return Sensor("RAPL package 0", watts)


def _nvidia_sensor() -> Sensor | None:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None

    def watts() -> float:
        done = subprocess.run(
            [tool, "--query-gpu=power.draw", "--format=csv,noheader,nounits", "--id=0"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
        return float(done.stdout)

    try:
        watts()
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return Sensor("NVML GPU 0", watts)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
