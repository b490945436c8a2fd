"""What an evaluation of attribution reports: one JSON document, and tables and a figure made of it.

Keys of the document are an interface and stay as they are. Values are percentages but for `ece`
(0..1) and `nll` (nats); what has no meaning or was not measured is None. `evidence` holds each
evidence alone, `without` all but one of them, `sets` every set.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.table import Table

from lineup._version import __version__
from lineup.errors import UsageError
from lineup.results import FINGERPRINT, GENERATED, PHOTOGRAPH, UNDETERMINED
from lineup.trace import ENCODE, GENERATE, PIXELS
from lineup_lab.attribution import (
    Judge,
    Judged,
    figures_from_judged,
    figures_of_source,
    intervals_from_judged,
    judged,
)
from lineup_lab.figures import write_sweep
from lineup_lab.metrics import PERCENT
from lineup_lab.report import HEADS, cell, figure_table, intervals_caption
from lineup_lab.scores import FINGERPRINTS_OF_PICTURES, RawScores, StageRecord, timed_rows

Document = dict[str, Any]

NO_STAGE = StageRecord(ms=0.0, calls=0)
NOT_MEASURED = "not measured"
ALL = " + "
"""Joins the names of evidences to the name of their set."""


def document_from_rows(
    rows: Sequence[RawScores],
    roles: Mapping[str, str],
    judge: Judge,
    *,
    resamples: int,
    seed: int,
) -> Document:
    """Evaluate one procedure on distinct images; `roles` is the right label per source."""
    everything = judged(rows, roles, judge)
    intervals = intervals_from_judged(everything, resamples=resamples, seed=seed)
    sets = _sets(rows, roles, judge)
    names = [name for name in sets if ALL not in name]
    return {
        **asdict(figures_from_judged(everything)),
        **{f"{key}_ci": list(interval) for key, interval in intervals.items()},
        "per_source": {
            source: {
                "role": roles[source],
                **asdict(figures_of_source(everything, source)),
                "n": len(verdicts),
            }
            for source, verdicts in everything.verdicts.items()
        },
        "confusion": confusion_from_judged(everything),
        "seconds_per_image": seconds_at_gamma(rows),
        "evidence": {name: sets[name] for name in names},
        "without": {
            name: sets[ALL.join(one for one in names if one != name)]
            for name in names
            if len(names) > 1
        },
        "sets": sets,
        "reported": reported_from_judged(everything),
        "cost": cost_from_rows(rows),
        "n": sum(map(len, everything.verdicts.values())),
        "unit": "percent",
    }


def sweep_from_rows(
    rows: Sequence[RawScores], roles: Mapping[str, str], judge: Judge, gammas: Sequence[int]
) -> list[Document]:
    """Evaluate with the first few of the resyntheses, for each number of them.

    Seconds are measured with the most resyntheses; what grows with their number is taken in
    proportion. Under `evidence` is every set of evidences, the set of all as the last.
    """
    points = []
    for gamma in gammas:
        sets = _sets(rows, roles, judge, gamma)
        seconds = seconds_at_gamma(rows, gamma / judge.settings.gamma)
        fused = list(sets.values())[-1]
        points.append({"gamma": gamma, "seconds_per_image": seconds, **fused, "evidence": sets})
    return points


def whole_document(
    modes: Mapping[str, Document], sweep: Sequence[Document], **details: Any
) -> Document:
    """Return the first mode's figures on top, all of them under `modes`, and what they share."""
    first = next(iter(modes))
    return {
        **modes[first],
        "mode": first,
        "modes": dict(modes),
        "sweep": list(sweep),
        "protocol": "attribution",
        **details,
        "peak_memory_mib": peak_memory_mib(),
        "lineup_version": __version__,
    }


def reported_from_judged(answers: Judged) -> dict[str, float | None]:
    """Return what the verdicts said, in percent; None where nothing was asked of it.

    Returns:
        `named`: candidates' queries whose verdict names the right one, or a family with it;
        `family`: those that were answered with a family; `family_right`: of these, those whose
        candidate belongs to it; `rejected`: other queries that were attributed to no candidate;
        `coverage`: queries whose true label is in the conformal set; `set_size`: its mean size.
    """
    named, family, family_right, rejected, covered, sizes = ([] for _ in range(6))
    for source, verdicts in answers.verdicts.items():
        truth = answers.roles[source]
        for one in verdicts:
            if one.candidates_set:
                covered.append(truth in one.candidates_set)
                sizes.append(len(one.candidates_set))
            if not answers.is_known(source):
                rejected.append(one.label in (GENERATED, UNDETERMINED))
                continue
            named.append(truth in (one.family or (one.label,)))
            family.append(bool(one.family))
            if one.family:
                family_right.append(truth in one.family)
    return {
        "named": _percentage(named),
        "family": _percentage(family),
        "family_right": _percentage(family_right),
        "rejected": _percentage(rejected),
        "coverage": _percentage(covered),
        "set_size": fmean(sizes) if sizes else None,
    }


def confusion_from_judged(answers: Judged) -> dict[str, dict[str, int]]:
    """Return how often each source's queries were given each label."""
    none = dict.fromkeys((*answers.candidates, GENERATED, UNDETERMINED), 0)
    return {
        source: none | Counter(one.label for one in verdicts)
        for source, verdicts in answers.verdicts.items()
    }


def cost_from_rows(rows: Sequence[RawScores]) -> Document:
    """Return means over the images that no cache helped with and no model was loaded for.

    Returns:
        `images`: how many; `stages`: seconds, share and calls of models per stage; `graph_runs`:
        runs per graph of the generators.
    """
    fresh = timed_rows(rows)
    total = fmean(row.seconds for row in fresh) if fresh else 0.0
    stages = {}
    for name in dict.fromkeys(name for row in fresh for name in row.stages):
        found = [row.stages.get(name, NO_STAGE) for row in fresh]
        seconds = fmean(one.ms for one in found) / 1e3
        share, calls = seconds / total if total else None, fmean(one.calls for one in found)
        stages[name] = {"seconds": seconds, "share": share, "calls": calls}
    graphs = sorted({name for row in fresh for name in row.graph_runs})
    runs = {name: fmean(row.graph_runs.get(name, 0) for row in fresh) for name in graphs}
    return {"images": len(fresh), "stages": stages, "graph_runs": runs}


def seconds_at_gamma(rows: Sequence[RawScores], share: float = 1.0) -> float | None:
    """Return the seconds per image with a share of the resyntheses; None when none was timed.

    Text is encoded once per candidate and the query is embedded once, so the stages of pictures
    grow in proportion to the pictures, and the text encoder does not grow at all.
    """
    fresh = timed_rows(rows)
    if not fresh:
        return None
    return fmean(row.seconds - (1 - share) * _picture_seconds(row) for row in fresh)


def peak_memory_mib() -> float | None:
    """Return the most memory that this process ever held, in MiB; None where nothing tells."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def tables_from_document(document: Document, titles: Mapping[str, str]) -> list[Table]:
    """Return the tables that a person looks at; `titles` names the evidence per mode."""
    modes, names = document["modes"], HEADS.values()
    tables = [
        _table_of_sources(one, f"Attribution by {titles.get(mode, mode)}: figures in %")
        for mode, one in modes.items()
    ]
    if len(document["sets"]) > 1:
        title = "By evidence; figures in %, calibration error 0..1"
        tables.append(figure_table(title, ("evidence", *names, "ECE")))
        for name, one in document["sets"].items():
            tables[-1].add_row(name, *_cells(one), cell(one["ece"], 3))
    if len(modes) > 1:
        heads = ("mode", *names, "ECE", "seconds/image")
        tables.append(figure_table("By procedure; figures in %", heads))
        for name, one in modes.items():
            seconds = _measured(one["seconds_per_image"], 2)
            tables[-1].add_row(name, *_cells(one), cell(one["ece"], 3), seconds)
    if document["sweep"]:
        tables.append(_table_of_sweep(document["sweep"]))
    if document["cost"]["images"]:
        tables.append(_table_of_cost(document))
    return tables


def plot_sweep(path: Path, sweep: Sequence[Document], *, candidates: int) -> None:
    """Draw accuracy against time for the numbers of resyntheses.

    Raises:
        UsageError: The time is not known, or the file cannot be written.
    """
    seconds = [one["seconds_per_image"] for one in sweep]
    if not sweep or None in seconds:
        raise UsageError(
            "There is no time to draw: every image came from a cache, or the default mode was not "
            "asked for.",
            hint="Use --no-cache, and a new file for --scores.",
        )
    names = list(sweep[0]["evidence"])
    shown = [name for name in names[:-1] if ALL not in name]
    labels = {name: f"{name} alone" for name in shown} | {names[-1]: "all evidence"}
    write_sweep(
        path,
        seconds,
        {
            label: [one["evidence"][name]["accuracy"] or 0.0 for one in sweep]
            for name, label in labels.items()
        },
        marks=[f"gamma {one['gamma']}" for one in sweep],
        level=labels[FINGERPRINT] if FINGERPRINT in shown else None,
        chance=100 / candidates,
    )


def _table_of_sources(document: Document, title: str) -> Table:
    table = figure_table(
        title,
        ("source", *HEADS.values(), "verdicts", "queries"),
        left=["verdicts"],
        caption=_caption(document),
        footers=("all", *_cells(document), "", str(document["n"])),
    )
    for source, one in document["per_source"].items():
        label = f"{source} ({one['role']})" if one["role"] in (GENERATED, PHOTOGRAPH) else source
        ranked = sorted(document["confusion"][source].items(), key=lambda item: -item[1])
        said = ", ".join(f"{name} {count}" for name, count in ranked if count)
        table.add_row(label, *_cells(one), said, str(one["n"]))
    return table


def _table_of_sweep(points: Sequence[Document]) -> Table:
    alone = [name for name in points[0]["evidence"] if ALL not in name]
    heads = ("gamma", "accuracy", "OSCR", "ECE", *(f"{name} alone" for name in alone))
    table = figure_table("By resyntheses per candidate; figures in %", (*heads, "seconds/image"))
    for one in points:
        cells = [cell(one["accuracy"]), cell(one["oscr"]), cell(one["ece"], 3)]
        cells += [cell(one["evidence"][name]["accuracy"]) for name in alone]
        table.add_row(str(one["gamma"]), *cells, _measured(one["seconds_per_image"], 2))
    return table


def _table_of_cost(document: Document) -> Table:
    cost, seconds = document["cost"], document["seconds_per_image"]
    table = figure_table(
        f"Cost of a verdict, mean over {cost['images']} image(s) that no cache helped with",
        ("stage", "ms", "share", "calls"),
        footers=("all", _measured(seconds and 1e3 * seconds, 0), "", ""),
    )
    for name, one in cost["stages"].items():
        share = f"{100 * (one['share'] or 0.0):.1f} %"
        table.add_row(name, f"{1e3 * one['seconds']:.0f}", share, f"{one['calls']:.1f}")
    return table


def _caption(document: Document) -> str:
    said, (low, high) = document["reported"], document["ece_ci"]
    parts = [
        f"{intervals_caption(document)}.",
        f"Calibration error {document['ece']:.3f} ({low:.3f} to {high:.3f}).",
    ]
    if said["named"] is not None:
        parts.append(f"Verdicts name the candidate or its family: {said['named']:.1f} %.")
        right = said["family_right"]
        right = "" if right is None else f" (right: {right:.1f} %)"
        parts.append(f"Answered with a family: {said['family']:.1f} %{right}.")
    if said["rejected"] is not None:
        parts.append(f"Others attributed to no candidate: {said['rejected']:.1f} %.")
    if said["coverage"] is not None:
        parts.append(f"Conformal sets hold the truth: {said['coverage']:.1f} %,")
        parts.append(f"mean size {said['set_size']:.2f}.")
    return " ".join(parts)


def _sets(
    rows: Sequence[RawScores], roles: Mapping[str, str], judge: Judge, gamma: int | None = None
) -> dict[str, Document]:
    """Return the figures of every set of evidences that any row has, smaller sets first."""
    names = tuple(dict.fromkeys(one.name for row in rows for one in row.evidence))
    return {
        ALL.join(chosen): asdict(
            figures_from_judged(judged(rows, roles, judge, names=chosen, gamma=gamma))
        )
        for size in range(1, len(names) + 1)
        for chosen in combinations(names, size)
    }


def _picture_seconds(row: RawScores) -> float:
    """Return the time that was spent on resyntheses, in seconds."""
    stages = (GENERATE, PIXELS, FINGERPRINTS_OF_PICTURES)
    total_ms = sum(row.stages[name].ms for name in stages if name in row.stages)
    encoder = row.stages.get(ENCODE)
    if encoder is not None and encoder.items:
        total_ms += encoder.ms * (encoder.items - 1) / encoder.items  # one of them is the query
    return total_ms / 1e3


def _percentage(values: Sequence[bool]) -> float | None:
    return PERCENT * fmean(values) if values else None


def _cells(figures: Document) -> tuple[str, ...]:
    return tuple(cell(figures[name]) for name in HEADS)


def _measured(value: float | None, digits: int) -> str:
    return NOT_MEASURED if value is None else f"{value:.{digits}f}"
