"""Outcomes of the protocols on fingerprints: one JSON document for machines, tables for people.

Keys of the documents are an interface and stay as they are. Figures are percentages, 0..100; one
without a meaning is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from types import MappingProxyType
from typing import Any

from rich.table import Table

from lineup._version import __version__
from lineup.gallery.support import REAL_NAME
from lineup_lab.classification import ClassificationResult
from lineup_lab.dataset import LabelledSource, ProtocolOptions, Split
from lineup_lab.metrics import Figures
from lineup_lab.real import ScoredSources
from lineup_lab.verification import ScoreRule, VerificationResult

HEADS = {"accuracy": "accuracy", "top3": "top 3", "auroc_unknown": "AUROC", "oscr": "OSCR"}
"""Heads of the figures in tables, in the order of the columns."""


def figure_table(
    title: str,
    heads: Sequence[str],
    *,
    left: Sequence[str] = (),
    footers: Sequence[str] = (),
    caption: str | None = None,
) -> Table:
    """Return an empty table: the first column and those of `left` are names, the others figures."""
    table = Table(
        title=title,
        title_justify="left",
        caption=caption,
        caption_justify="left",
        show_footer=bool(footers),
    )
    for index, head in enumerate(heads):
        footer = footers[index] if footers else ""
        if index == 0 or head in left:
            table.add_column(head, footer, overflow="fold")
        else:
            table.add_column(head, footer, justify="right")
    return table


def cell(value: float | None, digits: int = 1) -> str:
    """Return a figure as text; "-" where it has no meaning."""
    return "-" if value is None else f"{value:.{digits}f}"


def interval_text(interval: Sequence[float]) -> str:
    """Return "low to high"."""
    return f"{interval[0]:.1f} to {interval[1]:.1f}"


def intervals_caption(document: Mapping[str, Any]) -> str:
    """Return the intervals of the figures that there are, in the order of the columns."""
    found = {head: document.get(f"{key}_ci") for key, head in HEADS.items()}
    said = [f"{head} {interval_text(ci)}" for head, ci in found.items() if ci is not None]
    return "95 % intervals: " + ", ".join(said)


def document_from_verification(
    result: VerificationResult,
    sources: Sequence[LabelledSource],
    options: ProtocolOptions,
    *,
    rule: ScoreRule = ScoreRule.MEAN,
    fingerprint_digest: str,
    seconds: float,
    attacked: Mapping[str, VerificationResult] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return the document of a verification; `auc_sd` is None where there is one other source."""
    return {
        "protocol": "verification",
        **_verification_figures(result),
        **_run(result.splits, sources, options, fingerprint_digest, seconds),
        "pairs": {target: dict(aucs) for target, aucs in result.pairs.items()},
        "rule": rule.value,
        "attacks": {name: _verification_figures(one) for name, one in attacked.items()},
    }


def table_from_verification(result: VerificationResult) -> Table:
    """Return one row per source; a real one has no AUC of its own and uses no support."""
    table = figure_table(
        "Verification: AUC in %, each source's queries against every other source's",
        ("source", "AUC", "sd", "lowest", "against", "support", "queries"),
        left=["against"],
        caption=f"95 % interval of the mean over {result.query_count} queries: "
        f"{interval_text(result.auc_ci)}",
        footers=("mean", cell(result.auc_mean), *[""] * 4, str(result.query_count)),
    )
    for name, split in result.splits.items():
        target = result.targets.get(name)
        queries = str(len(split.queries))
        if target is None:
            table.add_row(name, "-", "-", "-", "(only a negative)", "-", queries)
        else:
            figures, aucs = (cell(one) for one in target.values()), result.pairs[name]
            hardest = min(aucs, key=aucs.__getitem__)
            table.add_row(name, *figures, hardest, str(len(split.support)), queries)
    return table


def table_from_attacks(
    clean: VerificationResult, attacked: Mapping[str, VerificationResult]
) -> Table:
    """Return one row per attack on the queries: mean AUC per source and overall."""
    table = figure_table(
        "Mean AUC in % after attacks on the queries; the support stays clean",
        ("queries", *clean.targets, "mean", "95 % interval"),
    )
    for label, result in {"clean": clean, **attacked}.items():
        aucs = (cell(target["auc_mean"]) for target in result.targets.values())
        table.add_row(label, *aucs, cell(result.auc_mean), interval_text(result.auc_ci))
    return table


def document_from_classification(
    result: ClassificationResult,
    sources: Sequence[LabelledSource],
    options: ProtocolOptions,
    *,
    unknown: Sequence[str],
    classifier: Mapping[str, Any],
    fingerprint_digest: str,
    seconds: float,
) -> dict[str, Any]:
    """Return the document of a classification; `unknown` sources make it that of an open set."""
    return {
        "protocol": "open-set" if unknown else "closed-set",
        **_classification_figures(result),
        **_run(result.splits, sources, options, fingerprint_digest, seconds),
        "leave_one_out": bool(result.rounds),
        "rounds": {name: _classification_figures(one) for name, one in result.rounds.items()},
        "unknown": list(unknown),
        "classifier": dict(classifier),
    }


def table_from_classification(result: ClassificationResult, real: Sequence[str]) -> Table:
    """Return one row per source."""
    keys = [key for key in HEADS if getattr(result.figures, key) is not None]
    title = "Closed set: figures in %"
    if result.rounds:
        title = "Open set: figures in % with each source in turn left out as the unknown"
    elif "oscr" in keys:
        title = "Open set: figures in %, of unknown sources against all known queries"
    table = figure_table(
        title,
        ("source", *(HEADS[key] for key in keys), "most often taken for", "queries"),
        left=["most often taken for"],
        caption=intervals_caption(_classification_figures(result)),
        footers=(
            "mean" if result.rounds else "all",
            *_cells(result.figures, keys),
            "",
            str(result.query_count),
        ),
    )
    for name, part in result.per_source.items():
        own_class = (REAL_NAME if name in real else name) if part.known else None
        # When left out in turn, the answers of its own round.
        answers = result.rounds.get(name, result).confusion[name]
        wrong = {one: count for one, count in answers.items() if one != own_class and count}
        most = max(wrong, key=wrong.__getitem__, default=None)
        label = name if part.known or result.rounds else f"{name} (unknown)"
        taken_for = "-" if most is None else f"{most} ({wrong[most]})"
        table.add_row(label, *_cells(part.figures, keys), taken_for, str(part.queries))
    return table


def document_from_real(
    results: Mapping[str, Mapping[str, Any]],
    scored: Mapping[str, ScoredSources],
    options: ProtocolOptions,
    *,
    fingerprint_digest: str,
    seconds: float,
) -> dict[str, Any]:
    """Return the document of real against generated; the first outcome is without an attack."""
    clean, *attacked = results
    return {
        "protocol": "real",
        **results[clean],
        "n": sum(len(llrs) for llrs in scored[clean].llrs.values()),
        **_settings(options, fingerprint_digest, seconds),
        "failed": len(scored[clean].failures),
        "duplicates": scored[clean].duplicates,
        "attacks": {name: results[name] for name in attacked},
    }


def table_from_real(results: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return one column per attack: AUC of photographs against each generator."""
    table = figure_table(
        "Real against generated: AUC in % of photographs against each generator's images",
        ("images", *results),
        caption="false alarms: photographs that are likelier generated than not. "
        "missed: generated images that are likelier photographs. "
        "Cllr: 0 for certainty, 1 for ratios that say nothing.",
    )
    outcomes = list(results.values())
    for name in outcomes[0]["sources"]:
        table.add_row(name, *(cell(one["sources"][name]["auc"]) for one in outcomes))
    missed = [fmean(s["called_real"] for s in one["sources"].values()) for one in outcomes]
    alarms = [one["photographs"]["called_generated"] for one in outcomes]
    table.add_section()
    table.add_row("mean", *(cell(one["auc_mean"]) for one in outcomes))
    table.add_row("95 % interval", *(interval_text(one["auc_ci"]) for one in outcomes))
    table.add_row("false alarms", *(f"{one:.1f} %" for one in alarms))
    table.add_row("missed", *(f"{one:.1f} %" for one in missed))
    table.add_row("Cllr", *(cell(one["cllr_bits"], 2) for one in outcomes))
    return table


def _settings(options: ProtocolOptions, fingerprint_digest: str, seconds: float) -> dict[str, Any]:
    return {
        "seconds": seconds,
        "unit": "percent",
        "real": list(options.real),
        "seed": options.seed,
        "bootstrap": options.resamples,
        "fingerprint": fingerprint_digest,
        "lineup": __version__,
    }


def _run(
    splits: Mapping[str, Split],
    sources: Sequence[LabelledSource],
    options: ProtocolOptions,
    fingerprint_digest: str,
    seconds: float,
) -> dict[str, Any]:
    """Return how a protocol with a support was run."""
    return {
        "n": sum(len(split.queries) for split in splits.values()),
        **_settings(options, fingerprint_digest, seconds),
        "images": {
            source.name: {
                "support": len(splits[source.name].support),
                "queries": len(splits[source.name].queries),
                "failed": len(source.failures),
                "duplicates": source.duplicate_count,
                "ambiguous": source.ambiguous_count,
            }
            for source in sources
        },
        "support": options.support,
        "failed": sum(len(source.failures) for source in sources),
    }


def _verification_figures(result: VerificationResult) -> dict[str, Any]:
    return {
        "sources": dict(result.targets),
        "auc_mean": result.auc_mean,
        "auc_ci": list(result.auc_ci),
    }


def _classification_figures(result: ClassificationResult) -> dict[str, Any]:
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


def _cells(figures: Figures, keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(cell(getattr(figures, key)) for key in keys)
