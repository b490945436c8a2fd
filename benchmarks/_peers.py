"""Peers as child processes that take turns: times, and memory as the kernel sees it.

Every peer is a small program under `peers/`. One runs at a time; a round runs each once, so that
whatever else the machine does falls on all. Memory is sampled from outside, for all alike.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lineup.machine import Watch

PEERS_DIR = Path(__file__).parent / "peers"
SAMPLE_INTERVAL_S = 0.005
MESSAGE_LINES = 12


@dataclass(frozen=True, slots=True)
class Peer:
    """A program to compare.

    Attributes:
        name: As in the report.
        program: File under `peers/`.
        request: What only this peer is asked.
    """

    name: str
    program: str
    request: Mapping[str, Any] = field(default_factory=dict)


class ProcessWatch(Watch):
    """Follows the resident memory of another process (Linux), for the length of a `with` block.

    Attributes:
        peaks: Highest so far of every part, in MiB; each part has its own, so they need not add up.
            `total_mib` is the kernel's own mark and misses nothing.
        now: The latest look.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(SAMPLE_INTERVAL_S, can_sample=True)
        self.peaks: dict[str, float] = {}
        self.now: dict[str, float] = {}
        self._status = Path(f"/proc/{pid}/status")

    def _sample(self) -> bool:
        self.look()
        return True

    def look(self) -> None:
        """Take a sample, if the process is there and this system tells."""
        try:
            text = self._status.read_text(encoding="ascii")
        except OSError:
            return
        kib = {
            line.split(":")[0]: int(line.split()[1])
            for line in text.splitlines()
            if line.endswith(" kB")
        }
        if "RssAnon" not in kib:  # the process has ended and was not waited for yet
            return
        self.now = {
            "anonymous_mib": kib["RssAnon"] / 1024,
            "file_backed_mib": (kib["RssFile"] + kib["RssShmem"]) / 1024,
        }
        self.peaks = {part: max(self.peaks.get(part, 0), mib) for part, mib in self.now.items()}
        self.peaks["total_mib"] = kib["VmHWM"] / 1024


def run_peer(
    peer: Peer, request: Mapping[str, Any], *, limit: Callable[[], object] | None = None
) -> dict[str, Any]:
    """Run a peer once.

    Args:
        peer: The program.
        request: What every peer is asked; the peer's own is added.
        limit: Called in the child before it starts, to bound its memory.

    Returns:
        What the peer told (`import_s`, `load_s`, `runs_s`, ...), `total_s` of the whole process,
        `ready_s` until its first result, `loaded_mib` and `peak_mib` by part; `error` when it
        failed: the last line it wrote, or the signal that ended it.
    """
    asked = json.dumps({**request, **peer.request})
    told: dict[str, Any] = {"peer": peer.name}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        started = time.perf_counter()
        with (
            subprocess.Popen(
                [sys.executable, str(PEERS_DIR / peer.program), asked],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                preexec_fn=limit,  # noqa: PLW1509 - no other thread runs at this moment
            ) as process,
            ProcessWatch(process.pid) as watch,
        ):
            assert process.stdout is not None
            for line in process.stdout:
                message = json.loads(line)
                watch.look()
                event = message.pop("event")
                if event == "loaded":
                    told["loaded_mib"] = dict(watch.now)
                if event == "first":
                    told["ready_s"] = time.perf_counter() - started
                told |= message
            code = process.wait()
        told |= {"total_s": time.perf_counter() - started, "peak_mib": watch.peaks}
        if code != 0:
            log.seek(0)
            told["error"] = _failure(code, log.read())
    return told


def _failure(code: int, log: str) -> str:
    if code < 0:
        return f"ended by signal {-code}"
    lines = [line for line in log.splitlines() if line.strip()]
    return " | ".join(lines[-MESSAGE_LINES:])[-600:] if lines else f"exit code {code}"


def take_turns(
    peers: Sequence[Peer], request: Mapping[str, Any], rounds: int
) -> dict[str, list[dict[str, Any]]]:
    """Run every peer once a round; one that failed is not asked again.

    Args:
        peers: In the order of a round.
        request: What every peer is asked.
        rounds: How many.
    """
    runs: dict[str, list[dict[str, Any]]] = {peer.name: [] for peer in peers}
    for number in range(rounds):
        for peer in peers:
            if any("error" in run for run in runs[peer.name]):
                continue
            run = run_peer(peer, request)
            runs[peer.name].append(run)
            outcome = run.get("error", f"{run['total_s']:.1f} s")
            print(f"round {number + 1}: {peer.name}: {outcome}", file=sys.stderr, flush=True)
    return runs


def figures(run: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of one run under flat names; of repeated runs their median."""
    flat: dict[str, float] = {}
    for key, value in run.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{part}": one for part, one in value.items() if _is_number(one)}
        elif key in {"runs_s", "runs_cpu_s"}:
            flat[key.replace("runs", "run")] = statistics.median(value)
        elif _is_number(value):
            flat[key] = value
    return flat


def scan_once(
    images: Iterable[Path | str],
    lineup: str,
    rows: Path,
    options: Iterable[str] = (),
    *,
    threads: int,
    device: str = "cpu",
) -> dict[str, float]:
    """Run `lineup scan` in a child; return its figures.

    Raises:
        SystemExit: The scan failed, or an image did.
    """
    request = {
        "program": "lineup",
        "images": [str(path) for path in images],
        "lineup": lineup,
        "rows": str(rows),
        "threads": threads,
        "device": device,
        "options": list(options),
    }
    run = run_peer(Peer("lineup", "scan.py"), request)
    if "error" in run:
        raise SystemExit(f"the scan failed: {run['error']}")
    return figures(run)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def medians(runs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the median of every figure that all runs have."""
    flat = [figures(run) for run in runs]
    return {
        key: statistics.median(one[key] for one in flat)
        for key in flat[0]
        if all(key in one for one in flat)
    }


def ratios(
    runs: Mapping[str, Sequence[Mapping[str, Any]]], ours: str, keys: Sequence[str]
) -> dict[str, dict[str, dict[str, float]]]:
    """Return each peer's figures out of ours, formed within every round: median and extremes.

    Above 1 means that the peer needs more. A peer that failed has none.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, theirs in runs.items():
        if name == ours or any("error" in run for run in (*theirs, *runs[ours])):
            continue
        pairs = [(figures(a), figures(b)) for a, b in zip(theirs, runs[ours], strict=True)]
        found[name] = {
            key: spread([a[key] / b[key] for a, b in pairs])
            for key in keys
            if all(a.get(key) and b.get(key) for a, b in pairs)
        }
    return found


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median and the extremes."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def summary(
    runs: Mapping[str, Sequence[dict[str, Any]]], ours: str, keys: Sequence[str]
) -> dict[str, Any]:
    """Return medians per peer, ratios to ours, what failed, and every run."""
    done = {name: [run for run in some if "error" not in run] for name, some in runs.items()}
    return {
        "medians": {name: medians(some) for name, some in done.items() if some},
        "ratios": ratios(runs, ours, keys),
        "versions": {name: some[0].get("versions", {}) for name, some in done.items() if some},
        "failures": {
            name: next(run["error"] for run in some if "error" in run)
            for name, some in runs.items()
            if any("error" in run for run in some)
        },
        "runs": dict(runs),
    }
