"""An evaluation of attribution: one JSON document for machines, tables and a figure for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from lineup._version import __version__
from lineup.errors import UsageError
from lineup.results import FINGERPRINT
from lineup_lab.attribution import AttributionFigures, Judged, figures_of_source
from lineup_lab.attribution_report import ALL, Cost, Report, SweepPoint, peak_memory_mib
from lineup_lab.figures import SweepLine, write_sweep
from lineup_lab.report import HEADS, cell, figure_table, intervals_caption

NOT_MEASURED = "not measured"


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


def document_from_outcome(outcome: Outcome, **details: Any) -> dict[str, Any]:
    """Return the JSON document: the first mode's figures on top, all of them under `modes`.

    Args:
        outcome: What was found.
        details: What is the same for all modes, kept as it is.
    """
    documents = {mode: document_from_report(one) for mode, one in outcome.reports.items()}
    first = next(iter(documents))
    return {
        **documents[first],
        "mode": first,
        "modes": documents,
        "sweep": document_from_sweep(outcome.sweep),
        "protocol": "attribution",
        **details,
        "gamma": outcome.gamma,
        "failed": outcome.failed,
        "peak_memory_mib": peak_memory_mib(),
        "lineup_version": __version__,
    }


def document_from_report(report: Report) -> dict[str, Any]:
    """Return the JSON document of one procedure; its keys are an interface.

    Returns:
        Percentages, 0..100, but for `ece` (0..1) and `nll` (nats); what has no meaning or was not
        measured is None. `evidence` holds each evidence alone, `without` all but one of them,
        `sets` every set.
    """
    sets = {name: asdict(figures) for name, figures in report.sets.items()}
    names = [name for name in sets if ALL not in name]
    total = report.cost.seconds or 0.0
    return {
        **asdict(report.figures),
        **{f"{key}_ci": list(interval) for key, interval in report.intervals.items()},
        "per_source": {
            source: {
                "role": report.judged.roles[source],
                **asdict(figures_of_source(report.judged, source)),
                "n": len(verdicts),
            }
            for source, verdicts in report.judged.verdicts.items()
        },
        "confusion": {source: dict(row) for source, row in report.confusion.items()},
        "seconds_per_image": report.cost.seconds,
        "evidence": {name: sets[name] for name in names},
        "without": {
            name: sets[ALL.join(one for one in names if one != name)]
            for name in names
            if len(names) > 1
        },
        "sets": sets,
        "reported": asdict(report.reported),
        "cost": {
            "images": report.cost.images,
            "stages": {
                name: {
                    "seconds": seconds,
                    "share": seconds / total if total else None,
                    "calls": report.cost.calls[name],
                }
                for name, seconds in report.cost.stage_seconds.items()
            },
            "graph_runs": dict(report.cost.graph_runs),
        },
        "n": _query_count(report.judged),
        "unit": "percent",
    }


def document_from_sweep(points: Sequence[SweepPoint]) -> list[dict[str, Any]]:
    """Return the sweep over the number of resyntheses as JSON values."""
    return [
        {
            "gamma": one.gamma,
            "seconds_per_image": one.seconds,
            **asdict(one.sets[one.fused]),
            "evidence": {name: asdict(figures) for name, figures in one.sets.items()},
        }
        for one in points
    ]


def tables_from_outcome(outcome: Outcome, titles: Mapping[str, str]) -> list[Table]:
    """Return the tables that a person looks at; `titles` names the evidence per mode."""
    tables = [
        table_from_report(report, f"Attribution by {titles.get(mode, mode)}: figures in %")
        for mode, report in outcome.reports.items()
    ]
    main = next(iter(outcome.reports.values()))
    if len(main.sets) > 1:
        tables.append(table_from_sets(main))
    if len(outcome.reports) > 1:
        tables.append(table_from_reports(outcome.reports))
    if outcome.sweep:
        tables.append(table_from_sweep(outcome.sweep))
    if main.cost.images:
        tables.append(table_from_cost(main.cost))
    return tables


def table_from_report(report: Report, title: str) -> Table:
    """Return one row per source; figures in percent."""
    table = figure_table(
        title,
        ("source", *HEADS.values(), "verdicts", "queries"),
        left=["verdicts"],
        caption=_caption(report),
        show_footer=True,
    )
    footers = ("all", *_cells(report.figures), "", str(_query_count(report.judged)))
    for column, footer in zip(table.columns, footers, strict=True):
        column.footer = footer
    for source, verdicts in report.judged.verdicts.items():
        role = report.judged.roles[source]
        label = source if report.judged.is_known(source) else f"{source} ({role})"
        ranked = sorted(report.confusion[source].items(), key=lambda item: -item[1])
        said = ", ".join(f"{name} {count}" for name, count in ranked if count)
        figures = _cells(figures_of_source(report.judged, source))
        table.add_row(label, *figures, said, str(len(verdicts)))
    return table


def table_from_sets(report: Report) -> Table:
    """Return one row per set of evidences."""
    table = figure_table(
        "By evidence; figures in %, calibration error 0..1", ("evidence", *HEADS.values(), "ECE")
    )
    for name, figures in report.sets.items():
        table.add_row(name, *_cells(figures), cell(figures.ece, 3))
    return table


def table_from_reports(reports: Mapping[str, Report]) -> Table:
    """Return one row per procedure."""
    heads = ("mode", *HEADS.values(), "ECE", "seconds/image")
    table = figure_table("By procedure; figures in %", heads)
    for name, report in reports.items():
        figures = report.figures
        seconds = _measured(report.cost.seconds, 2)
        table.add_row(name, *_cells(figures), cell(figures.ece, 3), seconds)
    return table


def table_from_sweep(points: Sequence[SweepPoint]) -> Table:
    """Return one row per number of resyntheses."""
    alone = [name for name in points[0].sets if ALL not in name]
    heads = ("gamma", "accuracy", "OSCR", "ECE", *(f"{name} alone" for name in alone))
    table = figure_table("By resyntheses per candidate; figures in %", (*heads, "seconds/image"))
    for one in points:
        fused = one.sets[one.fused]
        cells = [cell(fused.accuracy), cell(fused.oscr), cell(fused.ece, 3)]
        cells += [cell(one.sets[name].accuracy) for name in alone]
        table.add_row(str(one.gamma), *cells, _measured(one.seconds, 2))
    return table


def table_from_cost(cost: Cost) -> Table:
    """Return one row per stage: time, share, calls of models."""
    table = figure_table(
        f"Cost of a verdict, mean over {cost.images} image(s) that no cache helped with",
        ("stage", "ms", "share", "calls"),
        show_footer=True,
    )
    table.columns[0].footer = "all"
    table.columns[1].footer = _measured(cost.seconds and 1e3 * cost.seconds, 0)
    for name, seconds in cost.stage_seconds.items():
        share = 100 * seconds / cost.seconds if cost.seconds else 0.0
        table.add_row(name, f"{1e3 * seconds:.0f}", f"{share:.1f} %", f"{cost.calls[name]:.1f}")
    return table


def plot_outcome(path: Path, outcome: Outcome) -> None:
    """Draw accuracy against time for the numbers of resyntheses.

    Raises:
        UsageError: The time is not known.
    """
    points = outcome.sweep
    seconds = [one.seconds for one in points if one.seconds is not None]
    if not points or len(seconds) < len(points):
        raise UsageError(
            "There is no time to draw: every image came from a cache, or the default mode was not "
            "asked for.",
            hint="Use --no-cache, and a new file for --scores.",
        )
    fused = points[0].fused
    labels = {name: f"{name} alone" for name in points[0].sets if ALL not in name and name != fused}
    lines = [
        SweepLine(
            label=label,
            seconds=seconds,
            accuracy=[one.sets[name].accuracy or 0.0 for one in points],
            marks=[f"gamma {one.gamma}" for one in points],
            is_level=name == FINGERPRINT and name != fused,
        )
        for name, label in {**labels, fused: "all evidence"}.items()
    ]
    candidates = next(iter(outcome.reports.values())).judged.candidates
    write_sweep(path, lines, chance=100 / len(candidates))


def _caption(report: Report) -> str:
    said = report.reported
    parts = [
        f"{intervals_caption(report.intervals)}.",
        f"Calibration error {report.figures.ece:.3f} "
        f"({report.intervals['ece'][0]:.3f} to {report.intervals['ece'][1]:.3f}).",
    ]
    if said.named is not None and said.family is not None:
        parts.append(f"Verdicts name the candidate or its family: {said.named:.1f} %.")
        right = "" if said.family_right is None else f" (right: {said.family_right:.1f} %)"
        parts.append(f"Answered with a family: {said.family:.1f} %{right}.")
    if said.rejected is not None:
        parts.append(f"Others attributed to no candidate: {said.rejected:.1f} %.")
    if said.coverage is not None:
        parts.append(
            f"Conformal sets hold the truth: {said.coverage:.1f} %, mean size {said.set_size:.2f}."
        )
    return " ".join(parts)


def _query_count(answers: Judged) -> int:
    return sum(len(verdicts) for verdicts in answers.verdicts.values())


def _cells(figures: AttributionFigures) -> tuple[str, ...]:
    return tuple(cell(getattr(figures, name)) for name in HEADS)


def _measured(value: float | None, digits: int) -> str:
    return NOT_MEASURED if value is None else f"{value:.{digits}f}"
