"""Outcome of the protocol "wild": a document for machines, tables and a picture for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from lineup._version import __version__
from lineup.results import GENERATED, UNDETERMINED
from lineup_lab.report import cell, figure_table, interval_text
from lineup_lab.wild import OUTCOMES, WildOptions
from lineup_lab.wild_rates import Outcome, Rates, WildResult

NAMED = ("right", "family", "wrong")
"""The outcomes that give a name."""

GROUPS = ("enrolled", "unknown", "photographs")

COLOURS = {
    "right": "#009e73",
    "family": "#56b4e9",
    "wrong": "#d55e00",
    GENERATED: "#e69f00",
    UNDETERMINED: "#c8c8c8",
}


def document_from_result(
    result: WildResult, options: WildOptions, *, failed: int, seconds: float
) -> dict[str, Any]:
    """Return the document; rates in percent.

    Args:
        result: The outcome.
        options: How it was made.
        failed: Files that could not be read.
        seconds: Wall time.
    """
    return {
        "protocol": "wild",
        **_figures(result.overall),
        "channels": {kind: _figures(one) for kind, one in result.channels.items()},
        "options": asdict(options),
        "failed": failed,
        "seconds": seconds,
        "lineup": __version__,
    }


def tables_from_result(result: WildResult) -> list[Table]:
    """Return the verdicts by group and by channel."""
    overall = result.overall
    table = figure_table(
        "Verdicts in the wild, in % (95 % interval)",
        ("images", "n", *OUTCOMES),
        caption=f"AUC {cell(overall.auc)}, top 1 {cell(overall.top1)}, OSCR {cell(overall.oscr)}; "
        f"calibration error {overall.ece:.3f}. Images of unknown generators and photographs that "
        "are given a name count as wrong.",
    )
    for name, rates in zip(GROUPS, overall.groups, strict=True):
        shares = (
            f"{cell(rates.percent[one])} ({interval_text(rates.interval[one])})"
            if rates.percent[one]
            else "0.0"
            for one in OUTCOMES
        )
        table.add_row(name, str(rates.n), *shares)
    return [table, _table_by_channel(result.channels)]


def _table_by_channel(channels: Mapping[str, Outcome]) -> Table:
    table = figure_table(
        "By channel, in %",
        (
            "channel",
            "n",
            "right or family",
            "wrong name",
            "unknown named",
            "unknown generated",
            "photographs named",
            "photographs generated",
            "AUC",
        ),
    )
    for kind, one in channels.items():
        enrolled, unknown, photographs = one.groups
        table.add_row(
            kind,
            str(enrolled.n + photographs.n),
            cell(enrolled.percent["right"] + enrolled.percent["family"]),
            cell(enrolled.percent["wrong"]),
            cell(_named(unknown)),
            cell(unknown.percent[GENERATED]),
            cell(_named(photographs)),
            cell(photographs.percent[GENERATED]),
            cell(one.auc),
        )
    return table


def write_picture(path: Path, result: WildResult) -> None:
    """Write a PNG of stacked bars: who is named, and how, overall and by channel.

    Raises:
        UsageError: The file cannot be written.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - only who asks for it waits for it

    from lineup_lab.figures import write_figure  # noqa: PLC0415

    outcomes = {"all": result.overall, **result.channels}
    everything = {kind: one.groups for kind, one in outcomes.items()}
    figure = Figure(figsize=(11, 0.9 + 0.32 * len(everything)), layout="constrained")
    for axis, (index, group) in zip(
        figure.subplots(1, len(GROUPS), sharey=True), enumerate(GROUPS), strict=True
    ):
        left = [0.0] * len(everything)
        for outcome in OUTCOMES:
            shares = [rates[index].percent[outcome] for rates in everything.values()]
            axis.barh(list(everything), shares, left=left, color=COLOURS[outcome], label=outcome)
            left = [a + b for a, b in zip(left, shares, strict=True)]
        axis.set_title(f"{group} ({everything['all'][index].n} images)", fontsize=10)
        axis.set_xlim(0, 100)
        axis.set_xlabel("%")
        axis.invert_yaxis()
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(OUTCOMES), fontsize=9)
    write_figure(path, figure)


def _figures(outcome: Outcome) -> dict[str, Any]:
    return {
        **{name: _raw(name, one) for name, one in zip(GROUPS, outcome.groups, strict=True)},
        "auc_mean": outcome.auc,
        "top1": outcome.top1,
        "oscr": outcome.oscr,
        "ece": outcome.ece,
    }


def _raw(group: str, rates: Rates) -> dict[str, Any]:
    """Return a group's figures; of who is not enrolled, all names are wrong ones."""
    shares, interval = dict(rates.percent), {k: list(v) for k, v in rates.interval.items()}
    if group != "enrolled":
        shares = {"named": _named(rates), **{k: v for k, v in shares.items() if k not in NAMED}}
        interval = {
            "named": interval["wrong"],
            **{k: v for k, v in interval.items() if k not in NAMED},
        }
    return {"n": rates.n, **shares, "interval": interval}


def _named(rates: Rates) -> float:
    return sum(rates.percent[outcome] for outcome in NAMED)
