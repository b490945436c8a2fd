"""Parts and their steps: a time plan, what is done already, and a record after every step."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PARTS = {
    "environment": "part 1: what was carried there is what runs, and the card is found",
    "export": "part 2: SD-Turbo, BLIP and CLIP at full size in fp16, random weights",
    "correctness": "part 3: CUDA against the CPU; bindings, CUDA graphs, caches, a verdict",
    "speed": "part 4: an image and a scan against diffusers",
    "copies": "part 5: what copies cost, and what pinned or resident arrays would save",
}
LIMIT_S = 480
MOST_TRIES = 2
"""A step that ended its process twice is not tried again."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is tried or measured.

    Attributes:
        name: In the record.
        plan_s: What it may take on the machine with the card; a step that no longer fits is left
            for the next call.
        run: Returns its figures; what it raises is recorded.
        leaves_files: Whether it makes what later steps need, so that a machine without that has to
            run it again.
    """

    name: str
    plan_s: float
    run: Callable[[], Mapping[str, Any]]
    leaves_files: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a part runs, and with which models.

    Attributes:
        is_rehearsal: On the CPU, tiny, the memory of the host in the place of a card's.
        work: Folder for models and for what a rehearsal writes.
    """

    is_rehearsal: bool
    work: Path

    @property
    def device(self) -> str:
        """The device of programs that run in processes of their own."""
        return "cpu" if self.is_rehearsal else "cuda"

    @property
    def models(self) -> Any:
        """The models in half precision."""
        from _models import Models  # noqa: PLC0415 - needs what `take` installs

        return Models(self.work / "bundles", self.work, self.is_rehearsal, precision="fp16")

    def standing_in(self) -> AbstractContextManager[object]:
        """In a rehearsal, let "cuda" be the CPU for the length of the block."""
        if not self.is_rehearsal:
            return contextlib.nullcontext()
        from gpu.correctness import host_for_cuda  # noqa: PLC0415 - as above

        return host_for_cuda()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every part asks."""
    parser.add_argument("--rehearse", action="store_true", help="tiny, on the CPU")
    parser.add_argument("--work", type=Path, default=Path("build/gpu"), help="folder for models")
    parser.add_argument("--steps", nargs="+", metavar="STEP", help="these alone, done or not")
    parser.add_argument("--limit-s", type=float, default=LIMIT_S, help="of this call")


def steps_of_part(name: str, place: Place) -> list[Step]:
    """Return the steps of a part, in their order."""
    # Part 1 has to say what cannot be imported, so each is imported with its part.
    if name == "environment":
        from gpu.environment import imported, probed  # noqa: PLC0415

        # In this order: a session that PyTorch loaded CUDA's libraries for proves nothing.
        return [
            Step("device", 20, lambda: probed("cuda")),
            Step("imports", 60, imported),
        ]
    if name == "export":
        from gpu.correctness import export_steps  # noqa: PLC0415

        return export_steps(place)
    if name == "correctness":
        from gpu.correctness import correctness_steps  # noqa: PLC0415

        return correctness_steps(place)
    from gpu import speed  # noqa: PLC0415

    return speed.speed_steps(place) if name == "speed" else speed.copy_steps(place)


def plan_lines() -> list[str]:
    """Return the time plan; it is made of upper bounds, nothing of it was measured on a card."""
    lines = []
    for part in PARTS:
        steps = steps_of_part(part, Place(is_rehearsal=False, work=Path("build/gpu")))
        lines.append(f"{part:32}{sum(step.plan_s for step in steps):5.0f} s")
        lines += [f"  {step.name:30}{step.plan_s:5.0f} s" for step in steps]
    return lines


class Record:
    """What is known of a part's steps: a file that is written before and after every one."""

    def __init__(self, part: str, place: Place) -> None:
        from _record import RESULTS_DIR  # noqa: PLC0415 - needs what `take` installs
        from lineup.doctor import environment  # noqa: PLC0415

        folder = place.work / "rehearsal" if place.is_rehearsal else RESULTS_DIR / "gpu"
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{part}.json"
        self._about = {
            "benchmark": f"gpu/{part}",
            "environment": environment(),
            "settings": {"rehearsal": place.is_rehearsal},
        }
        self.steps: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            self.steps = json.loads(self.path.read_text("utf-8"))["results"]

    def keep(self, step: str, state: str, **figures: Any) -> None:
        """Note a step: "began", "done", "failed" or "not run"."""
        from lineup.files import write_atomic  # noqa: PLC0415 - needs what `take` installs

        self.steps[step] = {"state": state, **figures}
        document = {**self._about, "results": self.steps}
        write_atomic(self.path, (json.dumps(document, indent=2) + "\n").encode())

    def is_settled(self, step: Step) -> bool:
        """Tell whether a step need not be run."""
        known = self.steps.get(step.name, {})
        if known.get("state") == "began":
            return known["tries"] >= MOST_TRIES
        return known.get("state") == "done" and not step.leaves_files


def run_part(name: str, arguments: argparse.Namespace) -> bool:
    """Run the steps of a part that are not done; return whether every step is."""
    place = Place(arguments.rehearse, arguments.work.resolve())
    began = time.monotonic()
    with place.standing_in():
        if (why := _missing(place)) is not None:
            print(f"{name}: not run: {why}")
            return False
        steps, record = steps_of_part(name, place), Record(name, place)
        for step in steps:
            if arguments.steps and step.name not in arguments.steps:
                continue
            if not arguments.steps and record.is_settled(step):
                continue
            left_s = arguments.limit_s - (time.monotonic() - began)
            if step.plan_s > left_s:
                record.keep(step.name, "not run", why=f"{left_s:.0f} s were left, not enough")
                continue
            _run(step, record)
    for line in _lines(name, steps, record):
        print(line)
    return all(record.steps.get(step.name, {}).get("state") == "done" for step in steps)


def _missing(place: Place) -> str | None:
    """Tell why there is no card to run on; None when there is, or none is needed."""
    from lineup.backends.device import Device, DeviceKind  # noqa: PLC0415 - `take` installs it
    from lineup.backends.opening import probe  # noqa: PLC0415

    return None if place.is_rehearsal else probe(Device(DeviceKind.CUDA))


def _run(step: Step, record: Record) -> None:
    tries = record.steps.get(step.name, {}).get("tries", 0) + 1
    record.keep(step.name, "began", tries=tries)
    print(f"{step.name} (at most {step.plan_s:.0f} s)", file=sys.stderr, flush=True)
    start = time.monotonic()
    try:
        figures = step.run()
    except (Exception, SystemExit) as error:  # the next steps are worth their time all the same
        traceback.print_exc()
        said = f"{type(error).__name__}: {error}"
        record.keep(step.name, "failed", why=said[:600], tries=tries)
        return
    state = "failed" if figures.get("passes") is False else "done"
    seconds = time.monotonic() - start
    record.keep(step.name, state, planned_s=step.plan_s, took_s=seconds, **figures)


def _lines(part: str, steps: list[Step], record: Record) -> Iterator[str]:
    """Yield what became of each step, in one line."""
    for step in steps:
        known = record.steps.get(step.name, {"state": "not run"})
        plan = f"{known['took_s']:6.1f} of {step.plan_s:.0f} s" if "took_s" in known else ""
        yield f"{part}: {step.name:30}{known['state']:9}{plan}{known.get('why', '')}"
