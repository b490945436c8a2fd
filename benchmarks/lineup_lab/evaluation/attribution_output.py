"""An evaluation of attribution, for machines (one JSON document) and for people (tables)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from lineup._version import __version__
from lineup_lab.evaluation.attribution import AttributionFigures, Judged, figures_of_source
from lineup_lab.evaluation.attribution_report import (
    Cost,
    Report,
    SweepPoint,
    peak_memory_mib,
    set_name,
)

NOT_MEASURED = "not measured"
FIGURES = ("accuracy", "top3", "auroc_unknown", "oscr")


def document_from_report(report: Report) -> dict[str, Any]:
    """Return the JSON document of one procedure; its keys are an interface.

    Returns:
        Percentages, 0..100, but for `ece` (0..1) and `nll` (nats); what has no meaning or was not
        measured is None. `evidence` holds each evidence alone, `without` all but one of them,
        `sets` every set.
    """
    names = [name for name in report.sets if " + " not in name]
    return {
        **asdict(report.figures),
        **{f"{key}_ci": list(interval) for key, interval in report.intervals.items()},
        "per_source": {source: _source(report.judged, source) for source in report.judged.verdicts},
        "confusion": {source: dict(row) for source, row in report.confusion.items()},
        "seconds_per_image": report.cost.seconds,
        "evidence": {name: asdict(report.sets[name]) for name in names},
        "without": {
            name: asdict(report.sets[set_name([one for one in names if one != name])])
            for name in names
            if len(names) > 1
        },
        "sets": {name: asdict(figures) for name, figures in report.sets.items()},
        "reported": asdict(report.reported),
        "cost": _cost(report.cost),
        "n": sum(len(one) for one in report.judged.verdicts.values()),
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


def run_details(**details: Any) -> dict[str, Any]:
    """Return what is the same for all procedures of a run."""
    return {
        "protocol": "attribution",
        **details,
        "peak_memory_mib": peak_memory_mib(),
        "lineup_version": __version__,
    }


def table_from_report(report: Report, title: str) -> Table:
    """Return one row per source; figures in percent."""
    table = Table(
        title=title,
        caption=_caption(report),
        show_footer=True,
        title_justify="left",
        caption_justify="left",
    )
    overall = _cells(report.figures)
    table.add_column("source", footer="all", overflow="fold")
    for head, cell in zip(("accuracy", "top 3", "AUROC", "OSCR"), overall, strict=True):
        table.add_column(head, footer=cell, justify="right")
    table.add_column("verdicts", overflow="fold")
    table.add_column(
        "queries", footer=str(sum(map(len, report.judged.verdicts.values()))), justify="right"
    )
    for source, verdicts in report.judged.verdicts.items():
        role = report.judged.roles[source]
        label = source if report.judged.is_known(source) else f"{source} ({role})"
        table.add_row(
            label,
            *_cells(figures_of_source(report.judged, source)),
            _verdicts(report.confusion[source]),
            str(len(verdicts)),
        )
    return table


def table_from_sets(report: Report) -> Table:
    """Return one row per set of evidences."""
    table = Table(title="By evidence; figures in %, calibration error 0..1", title_justify="left")
    table.add_column("evidence", overflow="fold")
    for head in ("accuracy", "top 3", "AUROC", "OSCR", "ECE"):
        table.add_column(head, justify="right")
    for name, figures in report.sets.items():
        table.add_row(name, *_cells(figures), f"{figures.ece:.3f}")
    return table


def table_from_reports(reports: Mapping[str, Report]) -> Table:
    """Return one row per procedure."""
    table = Table(title="By procedure; figures in %", title_justify="left")
    table.add_column("mode")
    for head in ("accuracy", "top 3", "AUROC", "OSCR", "ECE", "seconds/image"):
        table.add_column(head, justify="right")
    for name, report in reports.items():
        table.add_row(
            name,
            *_cells(report.figures),
            f"{report.figures.ece:.3f}",
            _seconds(report.cost.seconds),
        )
    return table


def table_from_sweep(points: Sequence[SweepPoint]) -> Table:
    """Return one row per number of resyntheses."""
    table = Table(title="By resyntheses per candidate; figures in %", title_justify="left")
    table.add_column("gamma", justify="right")
    alone = [name for name in points[0].sets if " + " not in name]
    for head in ("accuracy", "OSCR", "ECE", *(f"{name} alone" for name in alone), "seconds/image"):
        table.add_column(head, justify="right")
    for one in points:
        fused = one.sets[one.fused]
        table.add_row(
            str(one.gamma),
            _cell(fused.accuracy),
            _cell(fused.oscr),
            f"{fused.ece:.3f}",
            *(_cell(one.sets[name].accuracy) for name in alone),
            _seconds(one.seconds),
        )
    return table


def table_from_cost(cost: Cost) -> Table:
    """Return one row per stage: time, share, calls of models."""
    table = Table(
        title=f"Cost of a verdict, mean over {cost.images} image(s) that no cache helped with",
        show_footer=True,
        title_justify="left",
    )
    table.add_column("stage", footer="all")
    table.add_column("ms", footer=_milliseconds(cost.seconds), justify="right")
    table.add_column("share", justify="right")
    table.add_column("calls", justify="right")
    for name, seconds in cost.stage_seconds.items():
        share = seconds / cost.seconds if cost.seconds else 0.0
        table.add_row(
            name, _milliseconds(seconds), f"{100 * share:.1f} %", f"{cost.calls[name]:.1f}"
        )
    return table


def _source(answers: Judged, source: str) -> dict[str, Any]:
    return {
        "role": answers.roles[source],
        **asdict(figures_of_source(answers, source)),
        "n": len(answers.verdicts[source]),
    }


def _cost(cost: Cost) -> dict[str, Any]:
    total = cost.seconds or 0.0
    return {
        "images": cost.images,
        "stages": {
            name: {
                "seconds": seconds,
                "share": seconds / total if total else None,
                "calls": cost.calls[name],
            }
            for name, seconds in cost.stage_seconds.items()
        },
        "graph_runs": dict(cost.graph_runs),
    }


def _caption(report: Report) -> str:
    intervals = ", ".join(
        f"{label} {report.intervals[key][0]:.1f} to {report.intervals[key][1]:.1f}"
        for key, label in zip(FIGURES, ("accuracy", "top 3", "AUROC", "OSCR"), strict=True)
        if key in report.intervals
    )
    said = report.reported
    parts = [
        f"95 % intervals: {intervals}.",
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


def _verdicts(row: Mapping[str, int]) -> str:
    ranked = sorted(row.items(), key=lambda item: -item[1])
    return ", ".join(f"{label} {count}" for label, count in ranked if count)


def _cells(figures: AttributionFigures) -> tuple[str, ...]:
    return tuple(_cell(getattr(figures, name)) for name in FIGURES)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _seconds(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.2f}"


def _milliseconds(seconds: float | None) -> str:
    return NOT_MEASURED if seconds is None else f"{1e3 * seconds:.0f}"
