"""Stage-major against image-major: time, peak memory, and whether the verdicts are the same.

    python benchmarks/orders.py LINEUP IMAGES... [--memory-budget 3GiB] [--gamma N] [--repeat 3]

Every scan is `lineup scan --no-cache` in a child process of its own; the orders take turns. The
budget holds for stage-major; image-major keeps every model loaded. Ends in one JSON line; exits
with 1 when the rows differ in anything but times.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from _peers import medians, scan_once
from _record import finish, parser_of, rows_without_times, settings_of

ORDERS = ("image-major", "stage-major")


def options_of(order: str, arguments: argparse.Namespace) -> list[str]:
    """Return the options of a scan in one order."""
    options = ["--no-cache", "--order", order]
    options += ["--gamma", str(arguments.gamma)] if arguments.gamma else []
    if arguments.memory_budget and order == "stage-major":
        options += ["--memory-budget", arguments.memory_budget]
    return options


def medians_of_order(runs: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Return the median per figure, None where the system does not tell."""
    found = medians(runs)
    return {
        "scan_s": found["scan_s"],
        "total_s": found["total_s"],
        "peak_anonymous_mib": found.get("peak_mib.anonymous_mib"),
        "peak_file_backed_mib": found.get("peak_mib.file_backed_mib"),
    }


def main() -> None:
    """Run both orders in turns and print what came out."""
    parser = parser_of(__doc__)
    parser.add_argument("lineup")
    parser.add_argument("images", nargs="+", metavar="IMAGES", help="files or folders")
    parser.add_argument("--memory-budget")
    parser.add_argument("--gamma", type=int)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    runs: dict[str, list[dict[str, float]]] = {order: [] for order in ORDERS}
    with tempfile.TemporaryDirectory() as folder:
        files = {order: Path(folder, f"{order}.jsonl") for order in ORDERS}
        for _ in range(arguments.repeat):
            for order in ORDERS:
                run = scan_once(
                    arguments.images,
                    arguments.lineup,
                    files[order],
                    options_of(order, arguments),
                    threads=arguments.threads,
                    device=arguments.device,
                )
                runs[order].append(run)
        rows = [rows_without_times(path) for path in files.values()]
    identical = rows[0] == rows[1]
    settings = {
        "lineup": Path(arguments.lineup).name,
        "images": len(rows[0]),
        **settings_of(arguments, "memory_budget", "gamma", "repeat", "device", "threads"),
    }
    results = {
        "identical": identical,
        "medians": {order: medians_of_order(runs[order]) for order in ORDERS},
        "runs": runs,
    }
    finish("orders", settings, results, record=arguments.record)
    sys.exit(0 if identical else 1)


if __name__ == "__main__":
    main()
