"""The whole training of the pocket lineup, stage by stage; each goes on where it was interrupted.

The stages of one run may go on in several processes at once, as far as they do not need each
other: every stage writes files of its own.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lineup.errors import UsageError
from lineup.files import write_atomic
from lineup_models.pocket.distillation import Distillation
from lineup_models.pocket.stages import RunOptions
from lineup_models.research.oneforall.loop import Item, Watch

STAGES = ("world", "tokenizer", "vaes", "clip", "captioner", "teacher", "pairs", "students")
"""In their order. "vaes" and "students" consist of one step per model, which go by its name."""

Step = tuple[str, Callable[[], Mapping[str, Any]]]


def _plainly(name: str, items: Sequence[Item]) -> Iterable[Item]:
    """Go through `items` without showing anything."""
    del name
    return items


def train_pocket(
    options: RunOptions,
    output: Path,
    *,
    only: Sequence[str] = (),
    watch: Watch = _plainly,
) -> dict[str, dict[str, Any]]:
    """Train the models of the pocket lineup; go on with an interrupted run.

    Args:
        options: The preset and its seed.
        output: Folder of the run.
        only: Stages, or steps of "vaes" ("vae-fern") and "students" ("pocket-ash"); none for all.
        watch: Wraps the steps of each stage.

    Returns:
        The record of each step gone through: seconds, final losses, figures.

    Raises:
        UsageError: The folder holds another run, or a stage lacks what an earlier one makes.
    """
    steps = steps_of_run(Distillation(options, output, watch))
    unknown = [name for name in only if name not in STAGES and name not in steps]
    if unknown:
        raise UsageError(
            f"There is no stage {unknown[0]!r}.",
            hint=f"Choose from {', '.join(dict.fromkeys((*STAGES, *steps)))}.",
        )
    records = {}
    for name, (stage, go_through) in steps.items():
        if not only or name in only or stage in only:
            started = time.perf_counter()
            figures = go_through()
            records[name] = _noted(output, name, time.perf_counter() - started, figures)
    return records


def steps_of_run(run: Distillation) -> dict[str, Step]:
    """Return every step by name, with its stage, in order."""
    vaes = {f"vae-{name}": ("vaes", partial(run.train_vae, name)) for name in run.preset.vaes}
    students = {
        name: ("students", partial(run.train_student, name)) for name in run.preset.generators
    }
    return {
        "world": ("world", run.render),
        "tokenizer": ("tokenizer", run.write_tokenizer),
        **vaes,
        "clip": ("clip", run.train_clip),
        "captioner": ("captioner", run.train_captioner),
        "teacher": ("teacher", run.train_teacher),
        "pairs": ("pairs", run.draw_pairs),
        **students,
    }


def _noted(output: Path, name: str, seconds: float, figures: Mapping[str, Any]) -> dict[str, Any]:
    """Write the record of a step; its time adds up over interruptions."""
    path = output / f"{name}.record.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    record = {
        **figures,
        "seconds": round(before.get("seconds", 0.0) + seconds, 1),
        "command": " ".join(["lineup", *sys.argv[1:]]),
    }
    write_atomic(path, json.dumps(record, indent=1).encode())
    return record
