"""What every benchmark ends in: one JSON line with the figures and the machine they stand for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lineup.doctor import examine
from lineup.files import write_atomic

RESULTS_DIR = Path(__file__).parent / "results"
ENVIRONMENT_FIELDS = ("lineup", "python", "system", "processor", "cores", "memory_total_mib")


def environment() -> dict[str, Any]:
    """Return hardware and versions; no folder names, so that a record can be published."""
    report = examine()
    return {
        **{field: getattr(report, field) for field in ENVIRONMENT_FIELDS},
        "gpus": list(report.gpus),
        "packages": report.packages,
    }


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
        path = RESULTS_DIR / f"{benchmark}.json"
        write_atomic(path, (json.dumps(document, indent=2) + "\n").encode())
    print(json.dumps(document))
