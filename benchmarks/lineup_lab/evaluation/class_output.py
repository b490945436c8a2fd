"""A classification's outcome, for machines (one JSON document) and for people (one table)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from lineup._version import __version__
from lineup.results import REAL
from lineup_lab.evaluation.classification import ClassificationOptions, ClassificationResult
from lineup_lab.evaluation.dataset import LabelledSource
from lineup_lab.evaluation.open_set_figures import Figures

CLOSED_SET = "closed-set"
OPEN_SET = "open-set"


def document_from_classification(
    result: ClassificationResult,
    sources: Sequence[LabelledSource],
    options: ClassificationOptions,
    *,
    unknown: Sequence[str],
    classifier: Mapping[str, Any],
    fingerprint_digest: str,
    seconds: float,
) -> dict[str, Any]:
    """Return the JSON document of a classification; its keys are an interface.

    Args:
        result: The outcome.
        sources: What it was computed from.
        options: How it was computed.
        unknown: Sources that were unknown, or left out in turn; none for the closed set.
        classifier: Settings of the classifier.
        fingerprint_digest: Identity of the fingerprint bundle.
        seconds: Wall time from the first file to the last figure.

    Returns:
        Figures are percentages, 0..100; one without a meaning is None. `n` counts the queries of
        all sources.
    """
    support = options.support
    return {
        "protocol": OPEN_SET if unknown else CLOSED_SET,
        **_outcome(result),
        "n": result.query_count,
        "seconds": seconds,
        "unit": "percent",
        "leave_one_out": bool(result.rounds),
        "rounds": {name: _outcome(one) for name, one in result.rounds.items()},
        "unknown": list(unknown),
        "real": list(options.real),
        "images": {
            source.name: {
                "support": len(result.splits[source.name].support),
                "queries": len(result.splits[source.name].queries),
                "failed": len(source.failures),
                "duplicates": source.duplicate_count,
                "ambiguous": source.ambiguous_count,
            }
            for source in sources
        },
        "classifier": dict(classifier),
        "support": support.value if support.is_share else int(support.value),
        "seed": options.seed,
        "bootstrap": options.resamples,
        "failed": sum(len(source.failures) for source in sources),
        "fingerprint": fingerprint_digest,
        "lineup": __version__,
    }


def table_from_classification(result: ClassificationResult, real: Sequence[str]) -> Table:
    """Return the table that `lineup eval closed-set` and `open-set` print; figures in percent."""
    open_set = result.figures.oscr is not None
    table = Table(
        title=_title(result, open_set),
        caption=_caption(result),
        show_footer=True,
        title_justify="left",
        caption_justify="left",
    )
    overall = _cells(result.figures, open_set)
    table.add_column("source", footer="mean" if result.rounds else "all", overflow="fold")
    heads = ["accuracy", "top 3", *(["AUROC", "OSCR"] if open_set else [])]
    for head, cell in zip(heads, overall, strict=True):
        table.add_column(head, footer=cell, justify="right")
    table.add_column("most often taken for", overflow="fold")
    table.add_column("queries", footer=str(result.query_count), justify="right")
    for name, part in result.per_source.items():
        own_class = (REAL if name in real else name) if part.known else None
        taken_for = _taken_for(_confusion_of(result, name), own_class)
        label = name if part.known or result.rounds else f"{name} (unknown)"
        table.add_row(label, *_cells(part.figures, open_set), taken_for, str(part.queries))
    return table


def _outcome(result: ClassificationResult) -> dict[str, Any]:
    return {
        **asdict(result.figures),
        **{f"{key}_ci": list(interval) for key, interval in result.intervals.items()},
        "per_source": {
            name: {
                "role": "known" if part.known else "unknown",
                **asdict(part.figures),
                "n": part.queries,
            }
            for name, part in result.per_source.items()
        },
        "confusion": {name: dict(row) for name, row in result.confusion.items()},
    }


def _title(result: ClassificationResult, open_set: bool) -> str:
    if result.rounds:
        return "Open set: figures in % with each source in turn left out as the unknown"
    if open_set:
        return "Open set: figures in %, of unknown sources against all known queries"
    return "Closed set: figures in %"


def _caption(result: ClassificationResult) -> str:
    names = {"accuracy": "accuracy", "top3": "top 3", "auroc_unknown": "AUROC", "oscr": "OSCR"}
    parts = [
        f"{label} {result.intervals[key][0]:.1f} to {result.intervals[key][1]:.1f}"
        for key, label in names.items()
        if key in result.intervals
    ]
    return "95 % intervals: " + ", ".join(parts)


def _cells(figures: Figures, open_set: bool) -> tuple[str, ...]:
    values = [figures.accuracy, figures.top3]
    if open_set:
        values += [figures.auroc_unknown, figures.oscr]
    return tuple("-" if value is None else f"{value:.1f}" for value in values)


def _confusion_of(result: ClassificationResult, name: str) -> Mapping[str, int]:
    """Return the answers to a source's queries; when left out in turn, those of its own round."""
    return result.rounds.get(name, result).confusion[name]


def _taken_for(row: Mapping[str, int], own_class: str | None) -> str:
    """Return the most frequent wrong answer and how often it was given."""
    wrong = {name: count for name, count in row.items() if name != own_class and count}
    if not wrong:
        return "-"
    name = max(wrong, key=lambda key: wrong[key])
    return f"{name} ({wrong[name]})"
