"""Options of the commands that attribute by a lineup, and what they add up to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lineup.cli.options import complete_lineups, with_options

if TYPE_CHECKING:
    from lineup.lineups.store import Lineup
    from lineup.options import AttributionOptions
    from lineup.resynthesis.cascade import CascadeOptions

Command = TypeVar("Command", bound=Callable[..., Any])

RESYNTHESIS_CHOICES = ("gamma", "seed", "encoder_layer", "distance", "aggregate", "mode", "prompt")
"""What `resynthesis_options` adds; None where the user said nothing."""


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


def evidence_option(command: Command) -> Command:
    """Add `--evidence`; the command receives `evidence: str | None`."""
    return click.option(
        "--evidence",
        metavar="NAME,...",
        help="fingerprint, resynthesis (embeddings and fingerprints of resyntheses).  "
        "[default: fingerprint, and all of a lineup that is named]",
    )(command)


def no_cache_option(command: Command) -> Command:
    """Add `--no-cache`; the command receives `no_cache: bool`."""
    return click.option(
        "--no-cache", is_flag=True, help="Make every resynthesis anew and keep nothing on disk."
    )(command)


def resynthesis_options(command: Command) -> Command:
    """Add the options of `RESYNTHESIS_CHOICES`; the command receives one value or None of each."""
    options = (
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
            type=click.Choice(
                ["euclidean", "manhattan", "cosine", "correlation", "ssim", "hybrid"]
            ),
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
        click.option(
            "--prompt", metavar="TEXT", help="The image's true prompt; no caption is made."
        ),
    )
    return with_options(command, options)


CASCADE_CHOICES = ("cascade", "stop_margin", "floor", "latency_budget")
"""What `cascade_options` adds; None (False for `cascade`) where the user said nothing."""


def cascade_options(command: Command) -> Command:
    """Add the options of `CASCADE_CHOICES`."""
    options = (
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
    return with_options(command, options)


def memory_budget_option(command: Command) -> Command:
    """Add `--memory-budget`; the command receives `memory_budget: str | None`."""
    return click.option(
        "--memory-budget",
        metavar="SIZE",
        help="Most memory to use, e.g. 900MiB or 2GiB: decides whether models stay loaded or take "
        "turns; see `lineup plan`.  [default: no limit]",
    )(command)


def cascade_from_choices(choices: Mapping[str, Any]) -> CascadeOptions | None:
    """Return when evidence is left out; None when it never is.

    Raises:
        UsageError: A number is out of its range.
    """
    from lineup.resynthesis.cascade import CascadeOptions

    names = {"stop_margin": "stop_margin", "floor": "floor", "latency_budget": "latency_budget_s"}
    given = {field: choices[name] for name, field in names.items() if choices.get(name) is not None}
    if choices.get("cascade") or {"stop_margin", "floor"} & set(given):
        return CascadeOptions(**given)
    return CascadeOptions(stop_margin=None, **given) if given else None


def attribution_options_from_choices(
    lineup: Lineup, evidence: str | None, choices: Mapping[str, Any]
) -> AttributionOptions:
    """Return the options of an attribution.

    Args:
        lineup: Has the defaults.
        evidence: Names with commas between; "resynthesis" is both of its signals.
        choices: Of `RESYNTHESIS_CHOICES` and, where the command has them, `CASCADE_CHOICES`.

    Raises:
        UsageError: A name or a combination is not possible.
    """
    from lineup.options import AttributionOptions
    from lineup.resynthesis.options import (
        Aggregate,
        Distance,
        Mode,
        options_from_mode,
    )

    changes = {key: choices[key] for key in RESYNTHESIS_CHOICES if choices[key] is not None}
    mode = Mode(changes.pop("mode", Mode.DEFAULT.value))
    for key, kind in (("distance", Distance), ("aggregate", Aggregate)):
        if key in changes:
            changes[key] = kind(changes[key])
    return AttributionOptions(
        evidence=None if evidence is None else evidence_from_text(evidence, mode.value),
        resynthesis=options_from_mode(mode, lineup.spec.resynthesis, changes),
        cascade=cascade_from_choices(choices),
    )


def evidence_from_text(text: str, mode: str = "default") -> tuple[str, ...]:
    """Return the evidence that a list with commas names; the papers have features alone."""
    from lineup.results import RESYNTHESIS, RESYNTHESIS_FINGERPRINT

    names = [part.strip() for part in text.split(",") if part.strip()]
    if RESYNTHESIS in names and mode == "default":
        names.append(RESYNTHESIS_FINGERPRINT)
    return tuple(dict.fromkeys(names))


def _layer_from_text(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> int | str | None:
    """Return a block's number, or "final"."""
    if text is None or text == "final":
        return text
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise click.BadParameter(f"{text!r} is neither a number from 1 up nor 'final'.")
