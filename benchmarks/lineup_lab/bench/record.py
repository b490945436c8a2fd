"""A measurement and a cold start as JSON, and two of them side by side."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
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


STEADY_VARIATION = 0.05
"""Coefficient of variation above which a mean says little about the next run."""


def cold_start(arguments: Mapping[str, Any]) -> dict[str, float]:
    """Start a process that opens a target and does one piece of work.

    The file cache is as it is: warm when the target was used before.

    Args:
        arguments: Of `lineup_lab.bench.workloads.open_workload`, as JSON values.

    Returns:
        Milliseconds: `process_ms` until Python runs the first line, `import_ms` of lineup and what
        it needs, `open_ms` to verify and open the models, `first_run_ms` with what is loaded late,
        and `total_ms`, as a clock on the wall shows it.

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
    told["process_ms"] = (told.pop("began") - start) * 1e3
    told["total_ms"] = total_ms
    keys = ("process_ms", "import_ms", "open_ms", "first_run_ms", "total_ms")
    return {key: round(told[key], 2) for key in keys}


def record_from_measurement(
    workload: Workload,
    options: BenchOptions,
    measured: Measurement,
    cold: dict[str, float] | None,
) -> dict[str, Any]:
    """Return everything as JSON values; what could not be measured is null."""
    memory = measured.memory
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
        "latency_ms": measured.latency,
        "throughput_per_s": round(measured.throughput_per_s, 4),
        "stages": measured.stages,
        "peak_anonymous_mib": None if memory is None else round(memory.anonymous_mib, 1),
        "peak_file_backed_mib": None if memory is None else round(memory.file_backed_mib, 1),
        "power_w": measured.power,
        "cold_start_ms": cold,
        "warnings": _warnings(measured.latency),
        "environment": environment(),
    }


def _warnings(latency: Mapping[str, float]) -> list[str]:
    """Return what should keep a reader from trusting the figures."""
    warnings = []
    if latency["cv"] > STEADY_VARIATION:
        warnings.append(
            f"latency varies by {100 * latency['cv']:.0f} % (coefficient of variation); "
            "other work on the machine, or clocks that are not locked"
        )
    if latency["count"] < 100:
        warnings.append(f"p99 of {latency['count']} runs is close to the largest of them")
    return warnings


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


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Return the figures that both records have, by path, such as "latency_ms.p50"."""
    stages = [f"stages.{name}.p50" for name in before["stages"] if name in after["stages"]]
    pairs = {name: (_at(before, name), _at(after, name)) for name in (*COMPARED, *stages)}
    return {name: pair for name, pair in pairs.items() if None not in pair}


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
