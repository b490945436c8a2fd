"""What a fingerprint costs: the shipped bundle against the published pipeline.

    python benchmarks/fingerprint.py [--threads 1 2] [--rounds 5] [--bundle NAME] [--record]

From decoded pixels to the fingerprint, on the CPU. Published: 17-layer denoiser, log amplitude of
the 222x222 residual, ResNet-50 for three channels, in PyTorch eager fp32; its weights are random,
as cost does not depend on them. Each pipeline lives in a process of its own, with the same number
of threads; they take turns, never at the same time, so that whatever else the machine does falls
on both. PyTorch shares the threads within one image; the bundle gives each image one thread, so
that a single image leaves its others idle and only the case of several images uses them all.

The ratio of wall times is formed within each round; its median and extremes are shown. On a busy
machine PyTorch's threads wait for each other after every layer, several times as long as they
compute: there the ratio on one thread is the one to believe, and so is the ratio of time on the
cores. The load is recorded. Peak memory comes from further processes, with most threads, that are
watched from outside while they load and serve one turn; it counts the whole process with Python and
its libraries.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from _peers import ProcessWatch, spread
from _record import finish, parser_of, quantiles_ms, settings_of
from lineup.machine import usable_cores

WORKER = Path(__file__).parent / "_fingerprint_worker.py"
TILE_PX = 256
PIPELINES = ("shipped", "published")
PEAKS = {"rss": "total_mib", "anonymous": "anonymous_mib", "file_backed": "file_backed_mib"}
"""Words of the record for what a `ProcessWatch` follows."""


@dataclass(frozen=True, slots=True)
class Case:
    """What one call is given."""

    size_px: int
    images: int

    @property
    def title(self) -> str:
        """Say it for people and as a key."""
        return f"{self.images} x {self.size_px} px"


class Worker:
    """A child process with one pipeline; a context manager.

    Attributes:
        about: What the pipeline is, and the memory it took to load.
    """

    def __init__(self, pipeline: str, threads: int, bundle: str | None, *, watch: bool) -> None:
        command = [sys.executable, str(WORKER), pipeline, "--threads", str(threads)]
        command += ["--bundle", bundle] if bundle else []
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._watch = ProcessWatch(self._process.pid).__enter__() if watch else None
        self.about = self._answer()

    def call(self, case: Case, min_seconds: float = 0.0) -> dict[str, Any]:
        """Run the pipeline for at least that long, and once at least."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({**asdict(case), "min_seconds": min_seconds}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a measuring process ended early; its message is above")
        return {**json.loads(line), "memory": self._peaks()}

    def _peaks(self) -> dict[str, float] | None:
        """Return the peaks since the process began, in MiB; None where nobody tells."""
        if self._watch is None:
            return None
        self._watch.look()
        peaks = self._watch.peaks
        return {f"peak_{key}_mib": peaks[part] for key, part in PEAKS.items()} if peaks else None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        if self._watch is not None:
            self._watch.__exit__(None, None, None)
        self._process.communicate()


def measure_times(
    cases: Sequence[Case], threads: int, options: argparse.Namespace
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Let the pipelines take turns; return what they are, and the figures of every case."""
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(Worker(name, threads, options.bundle, watch=False))
            for name in PIPELINES
        }
        times = {}
        for case in cases:
            for _ in range(options.warmup):
                for worker in workers.values():
                    worker.call(case)
            times[case.title] = _take_turns(workers, case, options)
    about = {
        name: {key: value for key, value in worker.about.items() if key != "memory"}
        for name, worker in workers.items()
    }
    return about, {title: _figures(rounds) for title, rounds in times.items()}


def _take_turns(
    workers: dict[str, Worker], case: Case, options: argparse.Namespace
) -> dict[str, list[dict[str, float]]]:
    """Return the milliseconds per image of every round, on the wall and on the cores."""
    times: dict[str, list[dict[str, float]]] = {name: [] for name in workers}
    for _ in range(options.rounds):
        for name, worker in workers.items():
            times[name].append(worker.call(case, options.min_seconds)["ms_per_image"])
    return times


def _figures(rounds: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    wall_ms = {name: [ms["wall"] for ms in turns] for name, turns in rounds.items()}
    cpu_ms = {name: float(np.median([ms["cpu"] for ms in rounds[name]])) for name in PIPELINES}
    ratios = np.divide(wall_ms["published"], wall_ms["shipped"]).tolist()
    return {
        **{name: {**quantiles_ms(wall_ms[name]), "cpu_median_ms": cpu_ms[name]} for name in rounds},
        "ratio": spread(ratios),
        "cpu_ratio": cpu_ms["published"] / cpu_ms["shipped"],
    }


def measure_memory(case: Case, options: argparse.Namespace) -> dict[str, Any]:
    """Return the peaks of a fresh process per pipeline, when loaded and after a turn."""
    results = {}
    for name in PIPELINES:
        with Worker(name, max(options.threads), options.bundle, watch=True) as worker:
            loaded = worker.about["memory"]
            results[name] = {
                "loaded": loaded,
                "after_call": worker.call(case, options.min_seconds)["memory"],
            }
    return results


def print_tables(results: dict[str, Any]) -> None:
    """Print times and memory for people."""
    for name, about in results["pipelines"].items():
        weights = f", {about['weights']} weights" if "weights" in about else ""
        print(f"{name}: {about['name']} ({about['runtime']}{weights})")
    print(
        f"\n{'ms per image':22}{'shipped':>9}{'p90':>7}{'published':>11}{'p90':>7}"
        f"  {'ratio':20}ratio of core time"
    )
    for threads, times in results["times"].items():
        for title, figures in times.items():
            print(f"{f'{title}, {threads} thr.':22}{_times_text(figures)}")
    print(f"\n{'peak MiB':27}{'resident':>9}{'anonymous':>11}{'file-backed':>13}")
    for title, pipelines in results["memory"].items():
        for name, stages in pipelines.items():
            print(f"{f'{title} {name}':27}{_memory_text(stages['after_call'])}")


def _times_text(figures: dict[str, Any]) -> str:
    shipped, published, ratio = (figures[key] for key in (*PIPELINES, "ratio"))
    return (
        f"{shipped['median_ms']:9.1f}{shipped['p90_ms']:7.1f}"
        f"{published['median_ms']:11.0f}{published['p90_ms']:7.0f}"
        f"  {'{median:.0f} ({min:.0f} to {max:.0f})'.format(**ratio):20}"
        f"{figures['cpu_ratio']:.0f}"
    )


def _memory_text(peaks: dict[str, float] | None) -> str:
    if peaks is None:
        return " not measured on this system"
    return (
        f"{peaks['peak_rss_mib']:9.0f}{peaks['peak_anonymous_mib']:11.0f}"
        f"{peaks['peak_file_backed_mib']:13.0f}"
    )


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; refuse what cannot be measured."""
    parser = parser_of(__doc__)
    parser.add_argument("--bundle", help="name or folder; default: the shipped one")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512], metavar="PX")
    parser.add_argument(
        "--batch", type=int, default=usable_cores(), help="images of the case of several"
    )
    parser.add_argument(
        "--threads", type=int, nargs="+", default=sorted({1, usable_cores()}),
        help="default: one, and one per core",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=1, help="calls before the rounds")
    parser.add_argument("--min-seconds", type=float, default=0.5, help="per turn")
    parser.add_argument("--json", action="store_true", help="the JSON line alone")
    options = parser.parse_args(arguments)
    least = {"batch": options.batch, "threads": min(options.threads), "rounds": options.rounds}
    for name, value in least.items():
        if value < 1:
            parser.error(f"--{name} is {value}, expected at least 1")
    for size_px in options.sizes:
        if size_px < TILE_PX or size_px % TILE_PX:
            parser.error(f"--sizes has {size_px}, expected multiples of the tile, {TILE_PX} px")
    return options


def _load_average() -> float | None:
    """Return the mean number of waiting threads over the last minute; None where unknown."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables and the JSON line."""
    options = parse_arguments(arguments)
    single = [Case(size_px, 1) for size_px in options.sizes]
    several = [Case(min(options.sizes), options.batch)] if options.batch > 1 else []
    load_before = _load_average()
    pipelines: dict[str, Any] = {}
    times: dict[str, Any] = {}
    for threads in options.threads:
        pipelines, times[str(threads)] = measure_times([*single, *several], threads, options)
    results = {
        "pipelines": pipelines,
        "times": times,
        "memory": {case.title: measure_memory(case, options) for case in single},
        "load_average": {"before": load_before, "after": _load_average()},
    }
    if not options.json:
        print_tables(results)
    settings = settings_of(options, "threads", "rounds", "warmup", "min_seconds", "sizes", "batch")
    finish("fingerprint", settings, results, record=options.record)


if __name__ == "__main__":
    main()
