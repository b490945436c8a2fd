"""An evaluation's outcome, for machines (one JSON document) and for people (one table)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from rich.table import Table

from lineup._version import __version__
from lineup_lab.evaluation.dataset import LabelledSource
from lineup_lab.evaluation.verification import VerificationOptions, VerificationResult

VERIFICATION = "verification"


def document_from_verification(
    result: VerificationResult,
    sources: Sequence[LabelledSource],
    options: VerificationOptions,
    *,
    fingerprint_digest: str,
    seconds: float,
    attacked: Mapping[str, VerificationResult] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return the JSON document of a verification; its keys are an interface and stay as they are.

    Args:
        result: The outcome.
        sources: What it was computed from.
        options: How it was computed.
        fingerprint_digest: Identity of the fingerprint bundle.
        seconds: Wall time from the first file to the last figure.
        attacked: The outcome per attack on the queries, such as "jpeg:90".

    Returns:
        AUCs are percentages, 0..100. `n` counts the queries of all sources. `auc_sd` is None when
        a target has only one other source.
    """
    support = options.support
    return {
        "protocol": VERIFICATION,
        **_figures(result),
        "n": result.query_count,
        "seconds": seconds,
        "unit": "percent",
        "pairs": {target: dict(aucs) for target, aucs in result.pairs.items()},
        "images": {source.name: _image_counts(source, result) for source in sources},
        "real": list(options.real),
        "support": support.value if support.is_share else int(support.value),
        "seed": options.seed,
        "bootstrap": options.resamples,
        "failed": sum(len(source.failures) for source in sources),
        "fingerprint": fingerprint_digest,
        "lineup": __version__,
        "rule": options.rule.value,
        "attacks": {name: _figures(outcome) for name, outcome in attacked.items()},
    }


def _figures(result: VerificationResult) -> dict[str, Any]:
    return {
        "sources": {
            name: {"auc_mean": t.auc_mean, "auc_sd": t.auc_sd, "auc_min": t.auc_min}
            for name, t in result.targets.items()
        },
        "auc_mean": result.auc_mean,
        "auc_ci": list(result.auc_ci),
    }


def table_from_verification(result: VerificationResult) -> Table:
    """Return the table that `lineup eval verification` prints; AUCs in percent."""
    low, high = result.auc_ci
    table = Table(
        title="Verification: AUC in %, each source's queries against every other source's",
        caption=f"95 % interval of the mean over {result.query_count} queries: "
        f"{low:.1f} to {high:.1f}",
        show_footer=True,
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("source", footer="mean", overflow="fold")
    table.add_column("AUC", footer=f"{result.auc_mean:.1f}", justify="right")
    table.add_column("sd", justify="right")
    table.add_column("lowest", justify="right")
    table.add_column("against", overflow="fold")
    table.add_column("support", justify="right")
    table.add_column("queries", footer=str(result.query_count), justify="right")
    for name in result.splits:
        table.add_row(name, *_cells(result, name))
    return table


def table_from_attacks(
    clean: VerificationResult, attacked: Mapping[str, VerificationResult]
) -> Table:
    """Return one row per attack on the queries: mean AUC per source and overall, in percent."""
    table = Table(
        title="Mean AUC in % after attacks on the queries; the support stays clean",
        title_justify="left",
    )
    table.add_column("queries", no_wrap=True)
    for name in clean.targets:
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("mean", justify="right")
    table.add_column("95 % interval", justify="right", no_wrap=True)
    for label, result in {"clean": clean, **attacked}.items():
        low, high = result.auc_ci
        table.add_row(
            label,
            *(f"{target.auc_mean:.1f}" for target in result.targets.values()),
            f"{result.auc_mean:.1f}",
            f"{low:.1f} to {high:.1f}",
        )
    return table


def _cells(result: VerificationResult, name: str) -> tuple[str, ...]:
    """Return the cells of one source; a real source has no AUC of its own and uses no support."""
    split = result.splits[name]
    target = result.targets.get(name)
    if target is None:
        return ("-", "-", "-", "(only a negative)", "-", str(len(split.queries)))
    return (
        f"{target.auc_mean:.1f}",
        "-" if target.auc_sd is None else f"{target.auc_sd:.1f}",
        f"{target.auc_min:.1f}",
        target.hardest,
        str(len(split.support)),
        str(len(split.queries)),
    )


def _image_counts(source: LabelledSource, result: VerificationResult) -> dict[str, int]:
    split = result.splits[source.name]
    return {
        "support": len(split.support),
        "queries": len(split.queries),
        "failed": len(source.failures),
        "duplicates": source.duplicate_count,
        "ambiguous": source.ambiguous_count,
    }
