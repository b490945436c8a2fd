"""How long the command line takes to start and to answer, as a whole process.

    python benchmarks/cli_start.py [--runs 20] [--record]

A first verdict is that of `lineup attribute` on a sample image of the package: by fingerprints
alone, and by all evidence of the pocket lineup with nothing in its cache. Every command runs once
to warm the file cache, then `--runs` times. A second look with Python's import timer
tells which heavy modules the command loaded. `python -c pass` is the floor.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _record import finish, parser_of, quantiles_ms, times_ms
from lineup.paths import shipped_dir

IMAGE = "IMAGE"
"""Stands for a sample image in the commands."""

COMMANDS = (
    ("--version",),
    ("--help",),
    ("doctor",),
    ("attribute", IMAGE, "--lineup", "pocket", "--evidence", "fingerprint"),
    ("attribute", IMAGE, "--lineup", "pocket", "--no-cache"),
)
HEAVY_MODULES = (
    "PIL", "cv2", "jinja2", "numpy", "onnx", "onnxruntime", "rich", "safetensors",
    "tensorrt", "torch",
)  # fmt: skip
IMPORT_LINE = re.compile(r"^import time:\s*\d+ \|\s*(\d+) \|\s*(\S+)\s*$", re.MULTILINE)


def milliseconds(command: Sequence[str], runs: int) -> list[float]:
    """Return the wall time of each run of a process, sorted; the first run is not counted."""
    times = times_ms(lambda: subprocess.run(command, check=False, capture_output=True), runs + 1)
    return sorted(times[1:])


def heavy_imports(import_log: str) -> dict[str, float]:
    """Return the milliseconds spent to import each heavy module, from the log of -X importtime."""
    spent_us = {name: int(microseconds) for microseconds, name in IMPORT_LINE.findall(import_log)}
    return {name: spent_us[name] / 1e3 for name in HEAVY_MODULES if name in spent_us}


def measure(arguments: Sequence[str], runs: int) -> dict[str, Any]:
    """Time `lineup ARGUMENTS` and list what it imports."""
    sample = str(shipped_dir() / "samples" / "pocket" / "ash.png")
    arguments = [sample if one == IMAGE else one for one in arguments]
    log = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "lineup", *arguments],
        check=False,
        capture_output=True,
        text=True,
    )
    return {
        **quantiles_ms(milliseconds([*_program(), *arguments], runs)),
        "exit_code": log.returncode,
        "heavy_imports_ms": heavy_imports(log.stderr),
    }


def _program() -> list[str]:
    """Return the installed `lineup` of this environment."""
    script = shutil.which("lineup", path=str(Path(sys.executable).parent))
    return [script] if script else [sys.executable, "-m", "lineup"]


def main() -> None:
    """Measure, print the table and the JSON line."""
    parser = parser_of(__doc__)
    parser.add_argument("--runs", type=int, default=20, help="at least 2")
    options = parser.parse_args()
    if options.runs < 2:
        parser.error(f"--runs is {options.runs}, expected at least 2")

    floor = quantiles_ms(milliseconds([sys.executable, "-c", "pass"], options.runs))
    results: dict[str, Any] = {"python -c pass": {**floor, "exit_code": 0, "heavy_imports_ms": {}}}
    for arguments in COMMANDS:
        results[" ".join(("lineup", *arguments))] = measure(arguments, options.runs)

    width = max(map(len, results))
    print(f"{'command':{width}}{'min ms':>9}{'median':>9}{'p90':>9}  heavy imports")
    for command, figures in results.items():
        loaded = ", ".join(figures["heavy_imports_ms"]) or "none"
        times = "".join(f"{figures[key]:9.0f}" for key in ("min_ms", "median_ms", "p90_ms"))
        print(f"{command:{width}}{times}  {loaded}")
    finish("cli_start", {"runs": options.runs}, results, record=options.record)


if __name__ == "__main__":
    main()
