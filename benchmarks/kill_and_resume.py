"""Kill a scan with SIGKILL at random moments, resume it each time, and compare the rows.

    python benchmarks/kill_and_resume.py PATH... [--kills 10] [--seed 0] [--record]

Exits with 1 when a row was lost, doubled or changed.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _record import finish, parser_of, rows_without_times


def scan(paths: Sequence[str], output: Path, *options: str) -> list[str]:
    """Return the command of a scan."""
    return [sys.executable, "-m", "lineup", "scan", *paths, "--output", str(output), *options]


def run_with_kills(
    paths: Sequence[str], output: Path, kills: int, seconds: float, seed: int
) -> list[int]:
    """Scan with `kills` kills at random moments; return the number of rows after each.

    On average all kills together come to the undisturbed time, and starting up takes a part of
    it, so that most or all of them hit a scan that is not done.
    """
    draw = random.Random(seed)  # noqa: S311 - no secret
    counts = []
    for _ in range(kills):
        process = subprocess.Popen(scan(paths, output, "--resume"), stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=draw.uniform(0.2, 1.8) * seconds / kills)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        counts.append(output.read_bytes().count(b"\n") if output.exists() else 0)
    subprocess.run(scan(paths, output, "--resume"), stderr=subprocess.DEVNULL, check=False)
    return counts


def main() -> None:
    """Run the comparison and print what came out."""
    parser = parser_of(__doc__)
    parser.add_argument("paths", nargs="+", metavar="PATH")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        calm, killed = Path(folder, "calm.jsonl"), Path(folder, "killed.jsonl")
        started = time.perf_counter()
        subprocess.run(scan(arguments.paths, calm), stderr=subprocess.DEVNULL, check=False)
        seconds = time.perf_counter() - started
        counts = run_with_kills(arguments.paths, killed, arguments.kills, seconds, arguments.seed)
        expected, found = rows_without_times(calm), rows_without_times(killed)
    results: dict[str, Any] = {
        "rows_after_each_kill": counts,
        "rows_undisturbed": len(expected),
        "rows_killed": len(found),
        "lost": len(set(expected) - set(found)),
        "doubled": len(found) - len(set(found)),
        "same_order": expected == found,
        "seconds_undisturbed": round(seconds, 2),
    }
    for name, value in results.items():
        print(f"{name:22} {value}")
    settings = {"kills": arguments.kills, "seed": arguments.seed}
    finish("kill_and_resume", settings, results, record=arguments.record)
    sys.exit(0 if sorted(expected) == sorted(found) else 1)


if __name__ == "__main__":
    main()
