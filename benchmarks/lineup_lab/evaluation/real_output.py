"""Outcome of real against generated, for machines (one JSON document) and for people (tables)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from lineup._version import __version__
from lineup_lab.evaluation.real import RealOptions, RealResult, ScoredSources

REAL_PROTOCOL = "real"


def document_from_real(
    results: Mapping[str, RealResult],
    scored: Mapping[str, ScoredSources],
    options: RealOptions,
    *,
    fingerprint_digest: str,
    seconds: float,
) -> dict[str, Any]:
    """Return the JSON document; its keys are an interface and stay as they are.

    Args:
        results: The outcome per attack; the first is without one.
        scored: What each was computed from.
        options: How it was computed.
        fingerprint_digest: Identity of the fingerprint bundle.
        seconds: Wall time from the first file to the last figure.

    Returns:
        AUCs and shares are percentages, 0..100.
    """
    clean, *attacked = results
    return {
        "protocol": REAL_PROTOCOL,
        **_figures(results[clean]),
        "n": sum(len(llrs) for llrs in scored[clean].llrs.values()),
        "seconds": seconds,
        "unit": "percent",
        "real": list(options.real),
        "seed": options.seed,
        "bootstrap": options.resamples,
        "failed": len(scored[clean].failures),
        "duplicates": scored[clean].duplicates,
        "fingerprint": fingerprint_digest,
        "lineup": __version__,
        "attacks": {name: _figures(results[name]) for name in attacked},
    }


def _figures(result: RealResult) -> dict[str, Any]:
    return {
        "sources": {
            name: {"auc": one.auc, "called_real": one.called_real, "images": one.images}
            for name, one in result.generators.items()
        },
        "auc_mean": result.auc_mean,
        "auc_ci": list(result.auc_ci),
        "photographs": {"called_generated": result.called_generated, "images": result.photographs},
        "cllr_bits": result.cllr_bits,
    }


def table_from_real(results: Mapping[str, RealResult]) -> Table:
    """Return one column per attack: AUC of photographs against each generator, in percent."""
    table = Table(
        title="Real against generated: AUC in % of photographs against each generator's images",
        caption="false alarms: photographs that are likelier generated than not. "
        "missed: generated images that are likelier photographs. "
        "Cllr: 0 for certainty, 1 for ratios that say nothing.",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("images", overflow="fold")
    for label in results:
        table.add_column(label, justify="right")
    outcomes = list(results.values())
    for name in outcomes[0].generators:
        table.add_row(name, *(f"{one.generators[name].auc:.1f}" for one in outcomes))
    table.add_section()
    table.add_row("mean", *(f"{one.auc_mean:.1f}" for one in outcomes))
    table.add_row("95 % interval", *("{:.1f} to {:.1f}".format(*one.auc_ci) for one in outcomes))
    table.add_row("false alarms", *(f"{one.called_generated:.1f} %" for one in outcomes))
    table.add_row("missed", *(f"{_missed(one):.1f} %" for one in outcomes))
    table.add_row("Cllr", *(f"{one.cllr_bits:.2f}" for one in outcomes))
    return table


def _missed(result: RealResult) -> float:
    """Return the mean over generators of the share that is called real, percent."""
    return sum(one.called_real for one in result.generators.values()) / len(result.generators)
