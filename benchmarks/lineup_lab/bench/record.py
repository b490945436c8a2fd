"""A measurement and a cold start as JSON, and two of them side by side."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lineup.doctor import environment
from lineup.errors import BackendError, UsageError
from lineup_lab.bench.harness import BenchOptions, Measurement
from lineup_lab.bench.workloads import Workload

FORMAT = "lineup-bench-1"

COLD_START = """
import time
began = time.time()  # before anything is imported
from lineup_lab.bench.workloads import tell_cold_start
tell_cold_start(began)
"""


@dataclass(frozen=True, slots=True)
class ColdStart:
    """Milliseconds from starting a process to its first result, in order.

    Attributes:
        process_ms: Until Python runs the first line.
        import_ms: Importing lineup and what it needs.
        open_ms: Verifying and opening the models.
        first_run_ms: The first piece of work, loading what is loaded late.
        total_ms: All of it, as a clock on the wall shows it.
    """

    process_ms: float
    import_ms: float
    open_ms: float
    first_run_ms: float
    total_ms: float

    def as_dict(self) -> dict[str, float]:
        """Return plain numbers for JSON."""
        return {name: round(value, 2) for name, value in asdict(self).items()}


def cold_start(arguments: Mapping[str, Any]) -> ColdStart:
    """Start a process that opens a target and does one piece of work.

    The file cache is as it is: warm when the target was used before.

    Args:
        arguments: Of `lineup_lab.bench.workloads.open_workload`, as JSON values.

    Raises:
        BackendError: The process failed; says how it ended.
    """
    start = time.time()
    done = subprocess.run(
        [sys.executable, "-c", COLD_START, json.dumps(dict(arguments))],
        capture_output=True,
        text=True,
        check=False,
    )
    total_ms = (time.time() - start) * 1e3
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BackendError(f"The process that measures a cold start failed: {last}")
    told = json.loads(done.stdout.splitlines()[-1])
    return ColdStart(
        process_ms=(told["began"] - start) * 1e3,
        import_ms=told["import_ms"],
        open_ms=told["open_ms"],
        first_run_ms=told["first_run_ms"],
        total_ms=total_ms,
    )


def record_from_measurement(
    workload: Workload, options: BenchOptions, measured: Measurement, cold: ColdStart | None
) -> dict[str, Any]:
    """Return everything as JSON values; what could not be measured is null."""
    memory, power = measured.memory, measured.power
    return {
        "format": FORMAT,
        "target": workload.name,
        "kind": workload.kind,
        "unit": workload.unit,
        "digest": workload.digest,
        "device": workload.device,
        "mode": options.mode.value,
        "pieces_per_run": options.pieces_per_run,
        "warmup": options.warmup,
        "latency_ms": measured.latency.as_dict(),
        "throughput_per_s": round(measured.throughput_per_s, 4),
        "stages": {name: stage.as_dict() for name, stage in measured.stages.items()},
        "peak_anonymous_mib": None if memory is None else round(memory.anonymous_mib, 1),
        "peak_file_backed_mib": None if memory is None else round(memory.file_backed_mib, 1),
        "power_w": (
            None
            if power is None
            else {
                "mean": round(power.mean_w, 2),
                "peak": round(power.peak_w, 2),
                "sensor": power.sensor,
            }
        ),
        "cold_start_ms": None if cold is None else cold.as_dict(),
        "warnings": warnings_of(measured),
        "environment": environment(),
    }


def warnings_of(measured: Measurement) -> list[str]:
    """Return what should keep a reader from trusting the figures."""
    warnings = []
    latency = measured.latency
    if not latency.is_steady:
        warnings.append(
            f"latency varies by {100 * latency.cv:.0f} % (coefficient of variation); "
            "other work on the machine, or clocks that are not locked"
        )
    if latency.count < 100:
        warnings.append(f"p99 of {latency.count} runs is close to the largest of them")
    return warnings


@dataclass(frozen=True, slots=True)
class Change:
    """One figure of two measurements.

    Attributes:
        name: Path of the figure, e.g. "latency_ms.p50".
        before: In the first.
        after: In the second.
    """

    name: str
    before: float
    after: float

    @property
    def ratio(self) -> float:
        """Second out of first; NaN when the first is 0."""
        return self.after / self.before if self.before else float("nan")


COMPARED = (
    "latency_ms.p50",
    "latency_ms.p90",
    "latency_ms.p99",
    "throughput_per_s",
    "peak_anonymous_mib",
    "peak_file_backed_mib",
    "cold_start_ms.total_ms",
    "power_w.mean",
)


def record_from_file(path: Path) -> dict[str, Any]:
    """Read what `lineup bench -o` wrote.

    Raises:
        UsageError: The file cannot be read, or is something else.
    """
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise UsageError(
            f"{path} is not a measurement of lineup.",
            hint="Make one with: lineup bench TARGET -o FILE",
        )
    return record


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Compare two records figure by figure; what one of them lacks is left out."""
    stages = [f"stages.{name}.p50" for name in before["stages"] if name in after["stages"]]
    rows = []
    for name in (*COMPARED, *stages):
        values = _at(before, name), _at(after, name)
        if values[0] is not None and values[1] is not None:
            rows.append(Change(name, *values))
    return rows


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return in what else the two differ, so that unlike is not taken for like."""
    names = ("target", "digest", "device", "mode", "pieces_per_run")
    found = [
        f"{name}: {before[name]} / {after[name]}" for name in names if before[name] != after[name]
    ]
    return found + [
        f"{name}: {value} / {after['environment'].get(name)}"
        for name, value in before["environment"].items()
        if after["environment"].get(name) != value
    ]


def _at(record: Mapping[str, Any], path: str) -> Any:
    value: Any = record
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
