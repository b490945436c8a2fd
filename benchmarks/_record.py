"""What every benchmark ends in: one JSON line with the figures and the machine they stand for."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lineup.doctor import environment
from lineup.files import write_atomic
from lineup.machine import PeakMemory

RESULTS_DIR = Path(__file__).parent / "results"


def parser_of(about: str | None) -> argparse.ArgumentParser:
    """Return the parser of a program: what its docstring begins with, and --record."""
    parser = argparse.ArgumentParser(description=(about or "").splitlines()[0])
    parser.add_argument("--record", action="store_true", help="keep the figures in results/")
    return parser


def settings_of(arguments: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Return the arguments that a record keeps."""
    return {name: getattr(arguments, name) for name in names}


def finish(benchmark: str, settings: dict[str, Any], results: Any, *, record: bool) -> None:
    """Print the JSON line that ends a benchmark, and keep it when asked to.

    Args:
        benchmark: Name of the benchmark and of the file in `results/`.
        settings: How it was run.
        results: What was measured.
        record: Whether to write `results/<benchmark>.json`.
    """
    document = {
        "benchmark": benchmark,
        "environment": environment(),
        "settings": settings,
        "results": results,
    }
    if record:
        _write(document)
    print(json.dumps(document))


def kept_results(benchmark: str) -> list[dict[str, Any]]:
    """Return the results on record of a benchmark that keeps one after the other."""
    path = RESULTS_DIR / f"{benchmark}.json"
    if not path.exists():
        return []
    results: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["results"]
    return results


def keep_result(benchmark: str, result: dict[str, Any], names: Sequence[str]) -> None:
    """Add a result to those on record, in place of an earlier one of the same.

    Args:
        benchmark: Name of the benchmark and of the file in `results/`.
        result: What was measured.
        names: The fields that say of what.
    """

    def key(one: dict[str, Any]) -> list[str]:
        return [str(one[name]) for name in names]

    others = [one for one in kept_results(benchmark) if key(one) != key(result)]
    results = sorted([*others, result], key=key)
    _write({"benchmark": benchmark, "environment": environment(), "results": results})


def _write(document: dict[str, Any]) -> None:
    path = RESULTS_DIR / f"{document['benchmark']}.json"
    write_atomic(path, (json.dumps(document, indent=2) + "\n").encode())


def times_ms(work: Callable[[], object], repeat: int) -> list[float]:
    """Do some work so many times; return the milliseconds that each time took."""
    times = []
    for _ in range(repeat):
        started = time.perf_counter()
        work()
        times.append((time.perf_counter() - started) * 1e3)
    return times


def quantiles_ms(times_ms: Sequence[float]) -> dict[str, float]:
    """Return the least, the median and the 90th percentile of some times."""
    low, median, high = np.percentile(times_ms, (0, 50, 90)).tolist()
    return {"min_ms": low, "median_ms": median, "p90_ms": high}


def anonymous_mib(peak: PeakMemory | None) -> float | None:
    """Return the memory that is this process's alone; None where the system does not tell."""
    return None if peak is None else peak.anonymous_mib


def without_times(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of a scan without what differs between two runs."""
    for evidence in (row.get("evidence") or {}).values():
        evidence["cost_ms"] = None
    return {**row, "ms": None, "resynthesis": None}


def rows_without_times(path: Path) -> list[str]:
    """Return every row of a scan as canonical JSON, in order."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.dumps(without_times(json.loads(line)), sort_keys=True) for line in lines]
