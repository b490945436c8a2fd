"""What `lineup eval attribution` found, as tables, JSON and a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineup.cli.tables import console_for_tables
from lineup.errors import UsageError

if TYPE_CHECKING:
    from lineup_lab.evaluation.attribution_report import Report, SweepPoint

DEFAULT_MODE = "default"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was found.

    Attributes:
        reports: Per mode, in the order asked for.
        sweep: Over the numbers of resyntheses; empty for a single one.
        gamma: The largest number.
        failed: Files that could not be read.
    """

    reports: Mapping[str, Report]
    sweep: Sequence[SweepPoint]
    gamma: int
    failed: int


def print_outcome(outcome: Outcome) -> None:
    """Print the tables."""
    from lineup_lab.evaluation.attribution_output import (
        table_from_cost,
        table_from_report,
        table_from_reports,
        table_from_sets,
        table_from_sweep,
    )

    console = console_for_tables()
    for mode, report in outcome.reports.items():
        name = "all evidence" if mode == DEFAULT_MODE else mode
        console.print(table_from_report(report, f"Attribution by {name}: figures in %"))
    main = next(iter(outcome.reports.values()))
    if len(main.sets) > 1:
        console.print(table_from_sets(main))
    if len(outcome.reports) > 1:
        console.print(table_from_reports(outcome.reports))
    if outcome.sweep:
        console.print(table_from_sweep(outcome.sweep))
    if main.cost.images:
        console.print(table_from_cost(main.cost))


def document_from_outcome(
    outcome: Outcome, details: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the JSON document: the first mode's figures on top, all of them under `modes`."""
    from lineup_lab.evaluation.attribution_output import (
        document_from_report,
        document_from_sweep,
        run_details,
    )

    documents = {mode: document_from_report(one) for mode, one in outcome.reports.items()}
    first = next(iter(documents))
    return {
        **documents[first],
        "mode": first,
        "modes": documents,
        "sweep": document_from_sweep(outcome.sweep),
        **run_details(
            **details,
            gamma=outcome.gamma,
            seed=settings["seed"],
            bootstrap=settings["bootstrap"],
            known_prompts=settings["known_prompts"],
            failed=outcome.failed,
        ),
    }


def plot_outcome(path: Path, outcome: Outcome) -> None:
    """Draw accuracy against time for the numbers of resyntheses.

    Raises:
        UsageError: The time is not known.
    """
    from lineup.engine import FINGERPRINT_EVIDENCE
    from lineup_lab.evaluation.figures import SweepLine, write_sweep

    seconds = [one.seconds for one in outcome.sweep if one.seconds is not None]
    if not outcome.sweep or len(seconds) < len(outcome.sweep):
        raise UsageError(
            "There is no time to draw: every image came from a cache, or the default mode was not "
            "asked for.",
            hint="Use --no-cache, and a new file for --scores.",
        )
    points = outcome.sweep
    marks = [f"gamma {one.gamma}" for one in points]
    alone = [name for name in points[0].sets if " + " not in name]
    fused = points[0].fused
    lines = [
        SweepLine(
            label=f"{name} alone",
            seconds=seconds,
            accuracy=[one.sets[name].accuracy or 0.0 for one in points],
            marks=marks,
            is_level=name == FINGERPRINT_EVIDENCE,
        )
        for name in alone
        if name != fused
    ]
    lines.append(
        SweepLine(
            label="all evidence",
            seconds=seconds,
            accuracy=[one.sets[fused].accuracy or 0.0 for one in points],
            marks=marks,
        )
    )
    candidates = len(next(iter(outcome.reports.values())).judged.candidates)
    write_sweep(path, lines, chance=100 / candidates)
    click.echo(path)
