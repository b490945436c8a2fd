"""What `attribute` and `scan` ask: which evidence, by which lineup, in how much memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lineup.cli.lineup_options import (
    CASCADE_CHOICES,
    RESYNTHESIS_CHOICES,
    attribution_options_from_choices,
    cascade_options,
    evidence_option,
    lineup_option,
    memory_budget_option,
    no_cache_option,
    resynthesis_options,
)
from lineup.cli.options import with_options
from lineup.errors import UsageError

if TYPE_CHECKING:
    from lineup.lineups.store import Lineup
    from lineup.options import AttributionOptions
    from lineup.stream import StreamOptions

Command = TypeVar("Command", bound=Callable[..., Any])

_ABOUT_RESYNTHESIS = (*RESYNTHESIS_CHOICES, *CASCADE_CHOICES, "memory_budget", "no_cache", "order")
QUESTION_CHOICES = ("lineup", "evidence", *_ABOUT_RESYNTHESIS[:-1])
"""What `question_options` adds; None (False for flags) where the user said nothing."""

MOST_READING_BYTES = 64 * 2**20
READING_SHARE = 16
"""Images that wait take this part of a memory budget, at most `MOST_READING_BYTES`."""


def question_options(command: Command) -> Command:
    """Add the options of `QUESTION_CHOICES`."""
    options = (
        lineup_option("the gallery alone"),
        evidence_option,
        resynthesis_options,
        cascade_options,
        memory_budget_option,
        no_cache_option,
    )
    return with_options(command, options)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about images, before anything is loaded.

    Attributes:
        lineup: Whose candidates; one without any is the gallery alone.
        options: Which evidence, and how.
        scan: How images are read and grouped.
        keeps_models: Whether all models stay loaded.
    """

    lineup: Lineup
    options: AttributionOptions
    scan: StreamOptions
    keeps_models: bool = True


def question_from_choices(
    choices: Mapping[str, Any], *, scan: StreamOptions | None = None, images: int | None = None
) -> Question:
    """Read the lineup and plan the work; nothing is loaded.

    Args:
        choices: Of `QUESTION_CHOICES`, and "order" where the command has it.
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
        options = ", ".join(f"--{name.replace('_', '-')}" for name in said)
        raise UsageError(
            f"{options} is about resyntheses, which were not asked for.",
            hint="Add --lineup NAME, or --evidence fingerprint,resynthesis.",
        )
    lineup = open_lineup(DEFAULT_LINEUP if name is None and asks else name)
    question = Question(lineup, attribution_options_from_choices(lineup, evidence, choices), scan)
    if not asks or not lineup.spec.generators:
        return question
    if choices["memory_budget"] is None and choices.get("order") is None:
        # One by one: how many resyntheses are in memory should not grow with the batch.
        return replace(question, scan=replace(scan, group_images=1, group_tiles=None))
    return _planned(question, choices, images)


def _planned(question: Question, choices: Mapping[str, Any], images: int | None) -> Question:
    """Let the planner decide; what it remarks goes to stderr."""
    from lineup.machine import LITTLE, keep_freed_memory
    from lineup.planning.plan import MAX_CHUNK, Order, bytes_from_text, plan_for_lineup

    keep_freed_memory(LITTLE)  # a plan counts what is in use
    order = None if choices.get("order") is None else Order(choices["order"])
    scan, budget_bytes, reading_bytes = question.scan, None, 0
    if choices["memory_budget"] is not None:
        budget_bytes = bytes_from_text(choices["memory_budget"])
        reading_bytes = min(MOST_READING_BYTES, budget_bytes // READING_SHARE)
        scan = replace(scan, look_ahead_bytes=reading_bytes, group_bytes=reading_bytes)
    settings = question.options.resynthesis or question.lineup.spec.resynthesis
    plan = plan_for_lineup(
        question.lineup,
        images=min(images or MAX_CHUNK, MAX_CHUNK),
        gamma=settings.gamma,
        budget_bytes=budget_bytes,
        order=order,
        reading_bytes=reading_bytes,
    )
    for note in plan.notes:
        click.echo(f"note: {note}", err=True)
    scan = replace(scan, group_images=plan.chunk, group_tiles=None, waits_for_group=True)
    return replace(question, scan=scan, keeps_models=plan.order is Order.IMAGE_MAJOR)
