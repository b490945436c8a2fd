"""Damaged files of every format: a picture, a picture with a note, or an error; nothing else.

    python benchmarks/mutations.py [--files 100000] [--seed 0] [--workers 2] [--record]

Bit flips, cuts, holes, repeats, splices, exchanged chunks, extreme numbers in headers; in most
files checksums and lengths are made right again. Workers decode them, so that a crash or a hang is
counted and the next file tried. "changed unseen" are other pixels than the undamaged file's,
without a note, where OpenCV and Pillow decode the file too, and say nothing of it: the floor.
Exits with 1 on a crash, a hang, an exception that is no ImageError, or a print past lineup.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from _mutation_worker import ESCAPED, OUTCOMES, OVERSEEN, Outcome, work
from _record import finish, parser_of, settings_of

HANG_S = 10.0
START_S = 120.0


@dataclass
class Tally:
    """What became of all files."""

    results: dict[str, Counter[str]] = field(default_factory=dict)
    faults: dict[str, list[int]] = field(default_factory=dict)
    worst_ms: float = 0.0
    details: list[str] = field(default_factory=list)
    growth_mib: float = 0.0
    peak_mib: float = 0.0

    def add(self, number: int, outcome: Outcome) -> None:
        """Count a file."""
        self.results.setdefault(outcome.kind, Counter())[outcome.result] += 1
        self.worst_ms = max(self.worst_ms, outcome.milliseconds)
        if outcome.result in (ESCAPED, OVERSEEN):
            self.fault(outcome.result, number)
        if outcome.has_printed:
            self.fault("printed", number)
        if outcome.detail:
            self.details.append(f"{number}: {outcome.detail}")

    def fault(self, name: str, number: int) -> None:
        """Count a fault, and keep the file's number."""
        self.faults.setdefault(name, []).append(number)


class Worker:
    """One process and the files that it is to try; started again behind a file that ended it."""

    def __init__(self, seed: int, first: int, count: int, step: int) -> None:
        self._seed, self._next, self._count, self._step = seed, first, count, step
        self._memory: list[float] = []
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe(duplex=False)
        arguments = (theirs, self._seed, self._next, self._count, self._step)
        self._process = context.Process(target=work, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        self._deadline = time.monotonic() + START_S

    def step(self, tally: Tally) -> bool:
        """Take what is there; return whether there is more to come."""
        if self._next >= self._count:
            self._close(tally)
            return False
        try:
            if self.connection.poll(0.01):
                number, outcome, resident_mib = self.connection.recv()
                tally.add(number, outcome)
                self._memory.append(resident_mib)
                self._next = number + self._step
                self._deadline = time.monotonic() + HANG_S
            elif time.monotonic() > self._deadline:
                self._replace(tally, "hang")
        except EOFError:
            self._replace(tally, "crash")
        return True

    def _replace(self, tally: Tally, fault: str) -> None:
        tally.fault(fault, self._next)
        self._process.kill()
        self._close(tally)
        self._next += self._step
        self._start()

    def _close(self, tally: Tally) -> None:
        self._process.join()
        if self._memory:
            # From the first tenth on, libraries have loaded what they load.
            settled = self._memory[len(self._memory) // 10]
            tally.growth_mib = max(tally.growth_mib, self._memory[-1] - settled)
            tally.peak_mib = max(tally.peak_mib, *self._memory)
        self._memory = []


def run(count: int, seed: int, workers: int) -> Tally:
    """Try so many files."""
    tally = Tally()
    running = [Worker(seed, first, count, workers) for first in range(min(workers, count))]
    while running:
        running = [worker for worker in running if worker.step(tally)]
    return tally


def results_of(tally: Tally) -> dict[str, Any]:
    """Return the figures on record."""
    total = sum(tally.results.values(), Counter())
    return {
        "total": {name: total[name] for name in OUTCOMES},
        "by_kind": {
            kind: {name: counts[name] for name in OUTCOMES if counts[name]}
            for kind, counts in sorted(tally.results.items())
        },
        "crashes": len(tally.faults.get("crash", ())),
        "hangs": len(tally.faults.get("hang", ())),
        "printed": len(tally.faults.get("printed", ())),
        "faults": {name: numbers[:20] for name, numbers in sorted(tally.faults.items())},
        "details": tally.details[:20],
        "worst_ms": round(tally.worst_ms, 1),
        "peak_mib": round(tally.peak_mib, 1),
        "growth_mib": round(tally.growth_mib, 1),
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the campaign and print what came out."""
    parser = parser_of(__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    given: argparse.Namespace = parser.parse_args(arguments)
    started = time.perf_counter()
    tally = run(given.files, given.seed, given.workers)
    results = results_of(tally)
    results["seconds"] = round(time.perf_counter() - started, 1)
    columns = "".join(f"{name[:20]:>22}" for name in OUTCOMES)
    print(f"{'':16}{columns}")
    for kind, counts in {**results["by_kind"], "total": results["total"]}.items():
        print(f"{kind:16}" + "".join(f"{counts.get(name, 0):22,}" for name in OUTCOMES))
    for name in ("crashes", "hangs", "printed", "faults", "worst_ms", "peak_mib", "growth_mib"):
        print(f"{name:16}{results[name]}")
    finish(
        "mutations", settings_of(given, "files", "seed", "workers"), results, record=given.record
    )
    sys.exit(1 if tally.faults.keys() - {OVERSEEN} else 0)


if __name__ == "__main__":
    main()
