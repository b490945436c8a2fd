"""What `attribute`, `scan` and the laboratory ask: which evidence, by which lineup, how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from lineup.cli.options import ENGINE_CHOICES, Command, all_of, complete_lineups, names_from_text
from lineup.cli.tables import say
from lineup.errors import UsageError

if TYPE_CHECKING:
    from lineup.engine import Engine
    from lineup.lineups.store import Lineup
    from lineup.options import AttributionOptions, CascadeOptions
    from lineup.stream import StreamOptions


def _layer_from_text(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> int | str | None:
    """Return a block's number, or "final"."""
    if text is None or text == "final":
        return text
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise click.BadParameter(f"{text!r} is neither a number from 1 up nor 'final'.")


RESYNTHESIS_CHOICES = ("gamma", "seed", "encoder_layer", "distance", "aggregate", "mode", "prompt")
"""What `resynthesis_options` adds; None where the user said nothing."""

resynthesis_options = all_of(
    click.option("--gamma", type=click.IntRange(min=1), help="Resyntheses per candidate."),
    click.option("--seed", type=click.IntRange(min=0), help="Seed of the first resynthesis."),
    click.option(
        "--encoder-layer",
        metavar="N|final",
        callback=_layer_from_text,
        help="Layer of the image features.",
    ),
    click.option(
        "--distance",
        type=click.Choice(["euclidean", "manhattan", "cosine", "correlation", "ssim", "hybrid"]),
        help="What resyntheses are compared by.",
    ),
    click.option(
        "--aggregate",
        type=click.Choice(["max", "mean"]),
        help="How the resyntheses of a candidate become one score.",
    ),
    click.option(
        "--mode",
        type=click.Choice(["default", "resynthesis", "regeneration"]),
        help="Follow a paper exactly: 2510.24278 (resynthesis) or 2403.01489 (regeneration).",
    ),
    click.option("--prompt", metavar="TEXT", help="The image's true prompt; no caption is made."),
)


def lineup_option(default: str) -> Callable[[Command], Command]:
    """Return what adds `--lineup`; the command receives `lineup: str | None`.

    Args:
        default: What its help says of a command that names none.
    """
    return click.option(
        "--lineup",
        metavar="NAME",
        default=None,
        shell_complete=complete_lineups,
        help="Lineup whose candidates resynthesise the image, by name or path; "
        f"`lineup lineups list` shows them.  [default: {default}]",
    )


no_cache_option = click.option(
    "--no-cache", is_flag=True, help="Make every resynthesis anew and keep nothing on disk."
)

CASCADE_CHOICES = ("cascade", "stop_margin", "floor", "latency_budget")
"""What `cascade_options` adds; None (False for `cascade`) where the user said nothing."""

cascade_options = all_of(
    click.option(
        "--cascade",
        is_flag=True,
        help="Resynthesise only images that the fingerprint leaves open, by candidates that "
        "are still plausible.",
    ),
    click.option(
        "--stop-margin",
        type=click.FloatRange(0, 1, min_open=True),
        metavar="P",
        help="An image is decided when its first answer (a source, or none of them) is this "
        "much likelier than the second; turns --cascade on.  [default: 0.9]",
    ),
    click.option(
        "--floor",
        type=click.FloatRange(0, 1),
        metavar="P",
        help="A candidate below this probability does not resynthesise; turns --cascade on.  "
        "[default: 0.01]",
    ),
    click.option(
        "--latency-budget",
        type=click.FloatRange(0, min_open=True),
        metavar="SECONDS",
        help="Leave out evidence that is expected to take an image beyond this, loading of "
        "models not counted.",
    ),
)


def _cascade_from_choices(choices: Mapping[str, Any]) -> CascadeOptions | None:
    """Return when evidence is left out; None when it never is.

    Raises:
        UsageError: A number is out of its range.
    """
    from lineup.options import CascadeOptions

    names = {"stop_margin": "stop_margin", "floor": "floor", "latency_budget": "latency_budget_s"}
    given = {field: choices[name] for name, field in names.items() if choices[name] is not None}
    if choices["cascade"] or {"stop_margin", "floor"} & set(given):
        return CascadeOptions(**given)
    return CascadeOptions(stop_margin=None, **given) if given else None


def _options_from_choices(lineup: Lineup, choices: Mapping[str, Any]) -> AttributionOptions:
    """Return the options of an attribution; the lineup has the defaults.

    Raises:
        UsageError: A name or a combination is not possible.
    """
    from lineup.options import Aggregate, AttributionOptions, Distance, Mode, options_from_mode

    changes = {key: choices[key] for key in RESYNTHESIS_CHOICES if choices[key] is not None}
    mode = Mode(changes.pop("mode", Mode.DEFAULT.value))
    for key, kind in (("distance", Distance), ("aggregate", Aggregate)):
        if key in changes:
            changes[key] = kind(changes[key])
    return AttributionOptions(
        evidence=evidence_from_text(choices["evidence"], mode.value),
        resynthesis=options_from_mode(mode, lineup.spec.resynthesis, changes),
        cascade=_cascade_from_choices(choices),
        origin=not choices["no_origin"],
    )


def evidence_from_text(text: str | None, mode: str = "default") -> tuple[str, ...] | None:
    """Return the evidence that a list with commas names; None is all of the lineup.

    "resynthesis" is both of its signals, but in the papers, which have features alone.
    """
    from lineup.results import RESYNTHESIS, RESYNTHESIS_FINGERPRINT

    if text is None:
        return None
    names = names_from_text(text)
    if RESYNTHESIS in names and mode == "default":
        names = tuple(dict.fromkeys((*names, RESYNTHESIS_FINGERPRINT)))
    return names


_ABOUT_RESYNTHESIS = (*RESYNTHESIS_CHOICES, *CASCADE_CHOICES, "memory_budget", "no_cache", "order")

MOST_READING_BYTES = 64 * 2**20
READING_SHARE = 16
"""Images that wait take this part of a memory budget, at most `MOST_READING_BYTES`."""


question_options = all_of(
    lineup_option("the gallery alone"),
    click.option(
        "--evidence",
        metavar="NAME,...",
        help="fingerprint, resynthesis (embeddings and fingerprints of resyntheses).  "
        "[default: fingerprint, and all of a lineup that is named]",
    ),
    resynthesis_options,
    cascade_options,
    click.option(
        "--memory-budget",
        metavar="SIZE",
        help="Most memory to use, e.g. 900MiB or 2GiB: decides whether models stay loaded or take "
        "turns; see `lineup plan`.  [default: no limit]",
    ),
    no_cache_option,
    click.option(
        "--no-origin",
        is_flag=True,
        help="Do not read what files declare of their origin (signed credentials, generators' "
        "texts).",
    ),
)
"""Adds what `question_from_choices` reads, beside the options of the engine."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about images, before anything is loaded.

    Attributes:
        lineup: Whose candidates; one without any is the gallery alone.
        options: Which evidence, and how.
        scan: How images are read and grouped.
        engine: What `lineup.engine.open_engine` takes beside the lineup.
    """

    lineup: Lineup
    options: AttributionOptions
    scan: StreamOptions
    engine: Mapping[str, Any]

    def open_engine(self) -> Engine:
        """Open the engine that answers it."""
        from lineup.engine import open_engine

        return open_engine(self.lineup, **self.engine)


def question_from_choices(
    choices: Mapping[str, Any], *, scan: StreamOptions | None = None, images: int | None = None
) -> Question:
    """Read the lineup and plan the work; nothing is loaded.

    Args:
        choices: Of `question_options` and `engine_options`, and "order" where the command has it.
        scan: How images are read; None takes the defaults.
        images: How many there are; None where nobody knows.

    Raises:
        LineupError: The lineup cannot be used, the memory budget is too small, or something is said
            on resyntheses that nobody asked for.
    """
    from lineup.lineups.store import DEFAULT_LINEUP, open_lineup
    from lineup.stream import DEFAULT_STREAM

    scan = scan or DEFAULT_STREAM
    name, evidence = choices["lineup"], choices["evidence"]
    asks = name is not None if evidence is None else "resynthesis" in evidence
    said = [name for name in _ABOUT_RESYNTHESIS if choices.get(name) not in (None, False)]
    if said and not asks:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in said)
        raise UsageError(
            f"{names} is about resyntheses, which were not asked for.",
            hint="Add --lineup NAME, or --evidence fingerprint,resynthesis.",
        )
    lineup = open_lineup(DEFAULT_LINEUP if name is None and asks else name)
    options = _options_from_choices(lineup, choices)
    engine = {name: choices[name] for name in ENGINE_CHOICES}
    engine |= {"cache": not choices["no_cache"], "keep_models": True}
    question = Question(lineup, options, scan, engine)
    if not asks or not lineup.spec.resynthesising:
        return question
    if choices["memory_budget"] is None and choices.get("order") is None:
        # One by one: how many resyntheses are in memory should not grow with the batch.
        return replace(question, scan=replace(scan, group_images=1, group_tiles=None))
    return _planned(question, choices, images)


def _planned(question: Question, choices: Mapping[str, Any], images: int | None) -> Question:
    """Let the planner decide within a budget; what it remarks goes to stderr."""
    from lineup.machine import LITTLE, keep_freed_memory
    from lineup.planning.plan import (
        MAX_CHUNK,
        Order,
        bytes_from_text,
        chunk_from_order,
        plan_for_lineup,
    )

    keep_freed_memory(LITTLE)  # a plan counts what is in use
    order = None if choices.get("order") is None else Order(choices["order"])
    scan, most = question.scan, min(images or MAX_CHUNK, MAX_CHUNK)
    gamma = (question.options.resynthesis or question.lineup.spec.resynthesis).gamma
    if choices["memory_budget"] is None:
        assert order is not None
        chunk = chunk_from_order(question.lineup, order, images=most, gamma=gamma)
    else:
        budget_bytes = bytes_from_text(choices["memory_budget"])
        reading_bytes = min(MOST_READING_BYTES, budget_bytes // READING_SHARE)
        scan = replace(scan, look_ahead_bytes=reading_bytes, group_bytes=reading_bytes)
        plan = plan_for_lineup(
            question.lineup,
            images=most,
            gamma=gamma,
            budget_bytes=budget_bytes,
            order=order,
            reading_bytes=reading_bytes,
            device=choices["device"],
        )
        for note in plan.notes:
            say(f"note: {note}", err=True)
        order, chunk = plan.order, plan.chunk
    scan = replace(scan, group_images=chunk, group_tiles=None, waits_for_group=True)
    keeps = order is Order.IMAGE_MAJOR
    return replace(question, scan=scan, engine={**question.engine, "keep_models": keeps})
