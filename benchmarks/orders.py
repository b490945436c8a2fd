"""Stage-major against image-major: time, peak memory, and whether the verdicts are the same.

    python benchmarks/orders.py LINEUP IMAGES... [--memory-budget 3GiB] [--gamma N] [--repeat 3]

Every scan is `lineup scan --evidence fingerprint,resynthesis --no-cache` in a child process of its
own; the orders take turns. The budget holds for stage-major; image-major keeps every model loaded.
Ends in one JSON line; exits with 1 when the rows differ in anything but times.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from _record import finish
from lineup.attribution.opening import open_lineup_engine
from lineup.cli.scan_lineup import SCAN_CHOICES, lineup_scan
from lineup.imaging.find import find_images
from lineup.memory import MemoryWatch
from lineup.scan.encoding import RowFormat
from lineup.scan.inputs import ScanInputs
from lineup.scan.meter import ScanMeter
from lineup.scan.options import ScanOptions
from lineup.scan.output import OutputFile, OutputMode

ORDERS = ("image-major", "stage-major")
EVIDENCE = "fingerprint,resynthesis"
VOLATILE_KEYS = ("ms",)
"""Times differ between runs of the same scan."""


def measured_scan(arguments: argparse.Namespace) -> dict[str, Any]:
    """Scan in this process; return time and peaks."""
    choices: dict[str, Any] = dict.fromkeys(SCAN_CHOICES)
    choices |= {"lineup": arguments.lineup, "gamma": arguments.gamma, "order": arguments.order}
    if arguments.order == "stage-major":
        choices["memory_budget"] = arguments.memory_budget
    inputs = ScanInputs(arguments.images, None, sys.stdin.buffer)
    meter = ScanMeter(ScanOptions().worker_count)
    with MemoryWatch() as watch:
        start = time.perf_counter()
        planned = lineup_scan(EVIDENCE, ScanOptions(), choices)
        with (
            OutputFile(arguments.rows, OutputMode.OVERWRITE, RowFormat.JSONL) as output,
            open_lineup_engine(
                planned.lineup,
                evidence=planned.question.evidence,
                device=arguments.device,
                threads=arguments.threads,
                cache=False,
                keep_models=planned.keeps_models,
            ) as engine,
        ):
            opened = time.perf_counter()
            planned.write(inputs, output, RowFormat.JSONL, engine, meter, nullcontext())
        end = time.perf_counter()
    peak = watch.peak
    return {
        "chunk": planned.chunk.images,
        "open_s": opened - start,
        "scan_s": end - opened,
        "total_s": end - start,
        "images": meter.images,
        "failed": meter.failed,
        "peak_anonymous_mib": None if peak is None else peak.anonymous_mib,
        "peak_file_backed_mib": None if peak is None else peak.file_backed_mib,
    }


def rows_from_file(path: Path) -> list[str]:
    """Return every row without its times, as canonical JSON, in order."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        json.dumps({key: row[key] for key in row if key not in VOLATILE_KEYS}, sort_keys=True)
        for row in rows
    ]


def run_child(order: str, rows: Path) -> dict[str, Any]:
    """Repeat this command in a child process that scans in one order."""
    command = [sys.executable, __file__, *sys.argv[1:], "--order", order, "--rows", str(rows)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def medians(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the median per figure, None where the system does not tell."""
    return {
        key: None if runs[0][key] is None else statistics.median(run[key] for run in runs)
        for key in runs[0]
    }


def main() -> None:
    """Run both orders in turns and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lineup")
    parser.add_argument("images", nargs="+", metavar="IMAGES", help="files or folders")
    parser.add_argument("--memory-budget")
    parser.add_argument("--gamma", type=int)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--order", choices=ORDERS, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.order is not None:
        print(json.dumps(measured_scan(arguments)))
        return
    runs: dict[str, list[dict[str, Any]]] = {order: [] for order in ORDERS}
    with tempfile.TemporaryDirectory() as folder:
        files = {order: Path(folder, f"{order}.jsonl") for order in ORDERS}
        for _ in range(arguments.repeat):
            for order in ORDERS:
                runs[order].append(run_child(order, files[order]))
        identical = len({tuple(rows_from_file(path)) for path in files.values()}) == 1
    settings = {
        "lineup": Path(arguments.lineup).name,
        "images": sum(1 for _ in find_images(arguments.images)),
        "memory_budget": arguments.memory_budget,
        "gamma": arguments.gamma,
        "repeat": arguments.repeat,
        "device": arguments.device,
        "threads": arguments.threads,
    }
    results = {
        "identical": identical,
        "medians": {order: medians(runs[order]) for order in ORDERS},
        "runs": runs,
    }
    finish("orders", settings, results, record=arguments.record)
    sys.exit(0 if identical else 1)


if __name__ == "__main__":
    main()
