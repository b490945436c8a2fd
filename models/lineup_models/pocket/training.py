"""The whole training of the pocket lineup, stage by stage; each goes on where it was interrupted.

The stages of one run may go on in several processes at once, as far as they do not need each
other: every stage writes files of its own.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lineup.errors import UsageError
from lineup.files import write_atomic
from lineup_models.pocket.captioner_training import train_captioner
from lineup_models.pocket.clip_training import train_clip
from lineup_models.pocket.data import HELD_OUT_FIRST, SEEDS_PER_RUN, fill_world
from lineup_models.pocket.registry import TOKENIZER_NAME
from lineup_models.pocket.run import Run
from lineup_models.pocket.student_training import train_student
from lineup_models.pocket.teacher_training import draw_pairs, train_teacher
from lineup_models.pocket.text import tokenizer_from_vocabulary
from lineup_models.pocket.vae_training import train_vae
from lineup_models.pocket.world.grammar import VOCABULARY

Step = tuple[str, Callable[[], Mapping[str, Any]]]


def train_pocket(run: Run, *, only: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Train the models of the pocket lineup; go on with an interrupted run.

    Args:
        run: The preset, its seed and its folder.
        only: Stages, or steps of "vaes" ("vae-fern") and "students" ("pocket-ash"); none for all.

    Returns:
        The record of each step gone through: seconds, final losses, figures.

    Raises:
        UsageError: There is no such stage, or one lacks what an earlier one makes.
    """
    steps = _steps(run)
    known = dict.fromkeys((*(stage for stage, _ in steps.values()), *steps))
    unknown = [name for name in only if name not in known]
    if unknown:
        raise UsageError(
            f"There is no stage {unknown[0]!r}.", hint=f"Choose from {', '.join(known)}."
        )
    records = {}
    for name, (stage, go_through) in steps.items():
        if not only or name in only or stage in only:
            started = time.perf_counter()
            figures = go_through()
            records[name] = _noted(run.output, name, time.perf_counter() - started, figures)
    return records


def _steps(run: Run) -> dict[str, Step]:
    """Return every step by name, with its stage, in order."""
    vaes = {f"vae-{name}": ("vaes", partial(train_vae, run, name)) for name in run.preset.vaes}
    students = {
        name: ("students", partial(train_student, run, name)) for name in run.preset.generators
    }
    return {
        "world": ("world", partial(render_world, run)),
        "tokenizer": ("tokenizer", partial(write_tokenizer, run)),
        **vaes,
        "clip": ("clip", partial(train_clip, run)),
        "captioner": ("captioner", partial(train_captioner, run)),
        "teacher": ("teacher", partial(train_teacher, run)),
        "pairs": ("pairs", partial(draw_pairs, run)),
        **students,
    }


def render_world(run: Run) -> dict[str, Any]:
    """Render the pictures; return their numbers."""
    first, counts = run.seed * SEEDS_PER_RUN, {}
    for name, offset, pictures in (
        ("training", 0, run.preset.pictures),
        ("held-out", HELD_OUT_FIRST, run.preset.held_out),
    ):
        folder, counts[name] = run.output / "world" / name, pictures
        fill_world(folder, first + offset, pictures, workers=run.workers, watch=run.watch)
    return counts


def write_tokenizer(run: Run) -> dict[str, Any]:
    """Write the tokenizer of all models."""
    tokenizer = tokenizer_from_vocabulary(VOCABULARY)
    write_atomic(run.output / TOKENIZER_NAME, tokenizer.to_str(pretty=True).encode())
    return {"words": tokenizer.get_vocab_size()}


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
