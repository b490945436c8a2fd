"""`lineup serve` under load, on loopback: its answers, its speed, and what cannot be made of it.

    python benchmarks/serving.py [--seconds 600] [--clients 32] [--mutated 10000] [--record]

One server, with its defaults, is (1) compared with `lineup scan` on the same files; (2) asked for
so many seconds by clients that send good, several, broken, large, huge, slow and unfinished
requests, while its memory is followed; (3) sent requests that were changed at random; (4) killed
while it is asked, and started again; (5) ended by SIGTERM while it is asked. Every row must be the
scan's. The clients run on the same machine and take their share of it.
Exits with 1 on a false row, a 5xx that is no stated back-pressure, a traceback, or a lost answer.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from _peers import ProcessWatch
from _record import finish, parser_of, settings_of
from _serving_clients import (
    ANSWER_S,
    Client,
    Outcome,
    Picture,
    fault_of_request,
    pictures_from_rows,
    request_from_number,
)
from scan_profile import draw_images

SIZES_PX = (256, 384, 512)
PER_SIZE = 8
START_S = 120.0
HOSTILE_THREADS = 16
KILL_AFTER_S = 2.0


class Served:
    """A server in a process of its own; its log is kept.

    Args:
        port: Where.
        log: File for its log.
    """

    def __init__(self, port: int, log: Path) -> None:
        self.port, self.log = port, log
        self.log_start = log.stat().st_size if log.exists() else 0
        with log.open("ab") as stream:
            command = [sys.executable, "-m", "lineup", "serve", "--port", str(port)]
            self.process = subprocess.Popen(command, stderr=stream)
        end = time.monotonic() + START_S
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"the server did not start: {self.said()[-500:]}")
            time.sleep(0.05)

    def is_ready(self) -> bool:
        """Ask."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def said(self) -> str:
        """Return its log so far."""
        return self.log.read_bytes()[self.log_start :].decode()

    def handles(self) -> int | None:
        """Return how many files and sockets it has open; None where the system does not tell."""
        try:
            return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))
        except OSError:
            return None

    def end(self, number: int) -> int:
        """Send a signal and wait for the end."""
        self.process.send_signal(number)
        return self.process.wait(ANSWER_S)


def run_clients(
    clients: Sequence[Client], each: Callable[[Client], Iterable[Outcome]]
) -> list[Outcome]:
    """Run clients in threads; return all outcomes."""
    with ThreadPoolExecutor(len(clients)) as pool:
        found = pool.map(lambda client: list(each(client)), clients)
        return [one for outcomes in found for one in outcomes]


def faults_of(outcomes: Iterable[Outcome]) -> list[str]:
    """Return what should not be."""
    return [f"{one.kind}: {one.fault}" for one in outcomes if one.fault]


def compared_with_scan(port: int, folder: Path, work: Path, seconds: float) -> dict[str, Any]:
    """Measure `lineup scan` and eight busy clients on the same files, one after the other."""
    few_s = _scan(folder, work / "rows.jsonl")
    pictures = pictures_from_rows(work / "rows.jsonl")
    many = work / "many"
    many.mkdir()
    count = max(2 * len(pictures), int(20 * seconds))
    for number in range(count):
        picture = pictures[number % len(pictures)]
        os.link(folder / picture.name, many / f"{number:06}{Path(picture.name).suffix}")
    # Of two scans, so that the start of a command does not count.
    scan_s = max(_scan(many, work / "many.jsonl") - few_s, 1e-3)
    clients = [Client(port, pictures, seed) for seed in range(8)]
    start = time.monotonic()
    outcomes = run_clients(clients, lambda one: _only_good(one, seconds))
    served_s = time.monotonic() - start
    answered = sum(one.images for one in outcomes)
    return {
        "pictures": pictures,
        "outcomes": outcomes,
        "scan_images_per_s": (count - len(pictures)) / scan_s,
        "served_images_per_s": answered / served_s,
    }


def _only_good(client: Client, seconds: float) -> Iterable[Outcome]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield client.good()


def _scan(folder: Path, rows: Path) -> float:
    command = [sys.executable, "-m", "lineup", "scan", str(folder), "-o", str(rows)]
    start = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - start


def loaded(server: Served, pictures: Sequence[Picture], clients: int, seconds: float) -> Any:
    """Ask with all kinds of requests; follow the memory."""
    samples: list[dict[str, float]] = []
    done = threading.Event()
    handles = server.handles()
    with ProcessWatch(server.process.pid) as watch:

        def follow() -> None:
            start = time.monotonic()
            while not done.wait(min(1.0, seconds / 20)):
                samples.append({"seconds": round(time.monotonic() - start, 2), **watch.now})

        follower = threading.Thread(target=follow)
        follower.start()
        crowd = [Client(server.port, pictures, seed) for seed in range(clients)]
        start = time.monotonic()
        outcomes = run_clients(crowd, lambda one: one.outcomes(seconds))
        took = time.monotonic() - start
        done.set()
        follower.join()
    return outcomes, {
        "seconds": took,
        "load_average": os.getloadavg()[1],  # of five minutes: what else the machine did
        "requests": len(outcomes),
        "rows": sum(one.images for one in outcomes),
        "kinds": kinds_of(outcomes),
        "memory": memory_of(samples),
        "peak_anonymous_mib": watch.peaks.get("anonymous_mib"),
        "handles": [handles, server.handles()],
        "samples": [
            {key: round(value, 1) for key, value in one.items()}
            for one in samples[:: max(1, len(samples) // 200)]
        ],
    }


def kinds_of(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return, per kind, statuses and the times of what was answered, in milliseconds."""
    table: dict[str, Any] = {}
    for kind in sorted({one.kind for one in outcomes}):
        some = [one for one in outcomes if one.kind == kind]
        p50, p90, p99 = np.percentile([one.ms for one in some], (50, 90, 99)).tolist()
        statuses = Counter(str(one.status) for one in some)
        table[kind] = {"statuses": dict(statuses), "p50_ms": p50, "p90_ms": p90, "p99_ms": p99}
    return table


def memory_of(samples: Sequence[dict[str, float]]) -> dict[str, float] | None:
    """Return private memory in the second and in the last tenth of the time: medians, in MiB."""
    known = [one["anonymous_mib"] for one in samples if "anonymous_mib" in one]
    if len(known) < 10:
        return None
    tenth = len(known) // 10
    early = statistics.median(known[tenth : 2 * tenth])
    late = statistics.median(known[-tenth:])
    return {"early_mib": early, "late_mib": late, "growth_mib": late - early}


def hostile(server: Served, picture: Picture, count: int, seed: int) -> dict[str, Any]:
    """Send requests that were changed at random."""

    def send(number: int) -> tuple[int, str]:
        request = request_from_number(picture.data, seed, number)
        status, fault = fault_of_request(server.port, request)
        return status, fault and f"{number}: {fault}"

    with ThreadPoolExecutor(HOSTILE_THREADS) as pool:
        answers = list(pool.map(send, range(count)))
    return {
        "requests": count,
        "statuses": dict(sorted(Counter(str(status) for status, _ in answers).items())),
        "faults": [fault for _, fault in answers if fault],
    }


def ended_while_asked(
    server: Served, pictures: Sequence[Picture], number: int, after_s: float
) -> tuple[int, list[Outcome]]:
    """Send a signal while eight clients ask; return the exit code and what they got."""
    ended = threading.Event()

    def ask(client: Client) -> Iterable[Outcome]:
        while not ended.is_set():
            outcome = client.good()
            yield outcome
            if not outcome.status:
                return

    def end() -> int:
        time.sleep(after_s)
        try:
            return server.end(number)
        finally:
            ended.set()

    with ThreadPoolExecutor(1) as pool:
        code = pool.submit(end)
        outcomes = run_clients([Client(server.port, pictures, seed) for seed in range(8)], ask)
        return code.result(), outcomes


def false_answers(outcomes: Iterable[Outcome]) -> list[str]:
    """Return the faults of requests that were answered: a connection that ended is none."""
    return faults_of(one for one in outcomes if one.status)


def measure(arguments: argparse.Namespace, work: Path) -> tuple[dict[str, Any], list[str]]:
    """Do all five; return figures and faults."""
    images = work / "images"
    images.mkdir()
    draw_images(images, SIZES_PX, PER_SIZE)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = work / "log"
    server = Served(port, log)
    try:
        rates = compared_with_scan(port, images, work, min(20.0, arguments.seconds))
        pictures: list[Picture] = rates.pop("pictures")
        faults = faults_of(rates.pop("outcomes"))
        outcomes, load = loaded(server, pictures, arguments.clients, arguments.seconds)
        faults += faults_of(outcomes)
        changed = hostile(server, pictures[0], arguments.mutated, arguments.seed)
        faults += changed["faults"]
        answered: Counter[str] = Counter()
        for kill in range(arguments.kills):
            after_s = KILL_AFTER_S * (1 + kill % 4 / 4)
            _, outcomes = ended_while_asked(server, pictures, signal.SIGKILL, after_s)
            faults += false_answers(outcomes)
            answered.update("answered" if one.status else "failed" for one in outcomes)
            server = Served(port, log)
            again = [Client(port, pictures, seed) for seed in range(8)]
            faults += faults_of(run_clients(again, lambda one: [one.good()]))
        code, outcomes = ended_while_asked(server, pictures, signal.SIGTERM, 1.0)
    finally:
        server.process.kill()
    # Whoever connects after the signal is refused; whoever was connected is answered.
    cut = [one for one in outcomes if not one.status and "ConnectionRefused" not in one.fault]
    faults += [f"SIGTERM: {one.fault}" for one in cut] + false_answers(outcomes)
    faults += [f"SIGTERM: exit code {code}"] if code else []
    text = log.read_bytes()
    faults += ["a traceback in the log"] if b"traceback" in text else []
    return {
        "rates": rates,
        "load": load,
        "changed": changed,
        "kills": {"kills": arguments.kills, **answered},
        "drained": {"answered": sum(one.status == 200 for one in outcomes), "exit_code": code},
        "faults": faults[:50],
    }, faults


def main() -> None:
    """Measure, print a table and the JSON line."""
    parser = parser_of(__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="of the load")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--mutated", type=int, default=10_000, help="changed requests")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        results, faults = measure(arguments, Path(name))
    for kind, one in results["load"]["kinds"].items():
        times = " ".join(f"{key[:3]} {one[key]:8.0f}" for key in ("p50_ms", "p90_ms", "p99_ms"))
        print(f"{kind:<14} {times} ms   {one['statuses']}")
    print({key: value for key, value in results.items() if key != "load"})
    for fault in itertools.islice(faults, 20):
        print(fault)
    settings = settings_of(arguments, "seconds", "clients", "mutated", "kills", "seed")
    finish("serving", settings, results, record=arguments.record)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
