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
from pathlib import Path
from typing import Any

from _record import finish, rows_without_times
from lineup.cli.question import QUESTION_CHOICES, question_from_choices
from lineup.engine import open_engine
from lineup.finding import find_images
from lineup.memory import MemoryWatch
from lineup.scan.encoding import JsonlEncoder
from lineup.scan.meter import ScanMeter
from lineup.scan.output import OutputFile, OutputMode
from lineup.scan.pipeline import scan_rows

ORDERS = ("image-major", "stage-major")


def measured_scan(arguments: argparse.Namespace) -> dict[str, Any]:
    """Scan in this process; return time and peaks."""
    choices: dict[str, Any] = dict.fromkeys((*QUESTION_CHOICES, "order"))
    choices |= {"lineup": arguments.lineup, "gamma": arguments.gamma, "order": arguments.order}
    if arguments.order == "stage-major":
        choices["memory_budget"] = arguments.memory_budget
    with MemoryWatch() as watch:
        start = time.perf_counter()
        question = question_from_choices(choices)
        meter = ScanMeter(question.scan.worker_count)
        with (
            OutputFile(arguments.rows, OutputMode.OVERWRITE) as output,
            open_engine(
                question.lineup,
                device=arguments.device,
                threads=arguments.threads,
                cache=False,
                keep_models=question.keeps_models,
            ) as engine,
        ):
            opened = time.perf_counter()
            output.begin(JsonlEncoder(), engine.run_id(question.options))
            images = find_images(arguments.images)
            for row in scan_rows(images, engine, question.options, question.scan, meter=meter):
                output.write(row)
        end = time.perf_counter()
    peak = watch.peak
    return {
        "chunk": question.scan.group_images,
        "open_s": opened - start,
        "scan_s": end - opened,
        "total_s": end - start,
        "images": meter.images,
        "failed": meter.failed,
        "peak_anonymous_mib": None if peak is None else peak.anonymous_mib,
        "peak_file_backed_mib": None if peak is None else peak.file_backed_mib,
    }


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
        identical = len({tuple(rows_without_times(path)) for path in files.values()}) == 1
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
