"""Cold start: what a user waits for who calls the program once."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lineup.errors import BackendError


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
        arguments: Of `lineup_lab.bench.target.open_workload`, as JSON values.

    Raises:
        BackendError: The process failed; says how it ended.
    """
    start = time.time()
    done = subprocess.run(
        [sys.executable, "-m", "lineup_lab.bench.child", json.dumps(dict(arguments))],
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
