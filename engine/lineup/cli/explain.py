"""Verdicts for people: the answer in words, and tables of what it rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lineup.cli.tables import console_for_tables

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from lineup.results import Attribution, Verdict
    from lineup.trace import Trace


def print_attribution(row: Attribution, *, explain: bool) -> None:
    """Print a verdict on stdout.

    Args:
        row: The image and its verdict.
        explain: Whether everything is shown, or the verdict and the scores.
    """
    console = console_for_tables()
    verdict = row.verdict
    assert verdict is not None
    console.print(row.path or "image", style="bold", markup=False)
    console.print(f"{row.width_px}x{row.height_px} {row.format}, sha256 {row.sha256}", style="dim")
    console.print(f"\nVerdict: [bold]{verdict.title}[/bold], {_meaning(verdict)}")
    if explain:
        _print_sets(console, verdict)
    console.print(_evidence_table(verdict))
    if explain:
        _print_costs(console, row, verdict)
    notes = [note for one in verdict.evidence for note in one.notes]
    for note in dict.fromkeys((*row.notes, *verdict.notes, *notes)):
        console.print(f"note: {note}", markup=False)
    console.print()


def _meaning(verdict: Verdict) -> str:
    """Put the verdict's probability in words."""
    from lineup.results import REAL, UNKNOWN

    if verdict.label != UNKNOWN:
        return f"{100 * verdict.title_probability:.1f} %"
    none_of_them = verdict.posterior[UNKNOWN] + verdict.posterior[REAL]
    return (
        f"{100 * none_of_them:.1f} % that no known source made it: "
        "another generator, or a photograph"
    )


def _print_sets(console: Console, verdict: Verdict) -> None:
    if verdict.family:
        members = ", ".join(verdict.family)
        console.print(f"Family: {members} share their decoder and cannot be told apart here")
    if verdict.candidates_set:
        console.print(f"Conformal set: {', '.join(verdict.candidates_set)}")
    if verdict.caption is not None:
        console.print(f"Caption: {verdict.caption}", markup=False)


def _evidence_table(verdict: Verdict) -> Table:
    """Return one row per source, with score and log likelihood ratio (LLR) of each evidence."""
    from rich import box
    from rich.table import Table

    table = Table("source", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("posterior", justify="right")
    for one in verdict.evidence:
        table.add_column(f"{one.name}\nscore", justify="right")
        table.add_column("\nLLR", justify="right")
    ranked = sorted(verdict.posterior.items(), key=lambda item: -item[1])
    for name, share in ranked:
        cells = [f"{100 * share:.1f} %"]
        for one in verdict.evidence:
            score, ratio = one.scores.get(name), one.llr.get(name)
            cells += [
                "" if score is None else f"{score:.4f}",
                "" if ratio is None else f"{ratio:+.2f}",
            ]
        style = "bold" if name == verdict.label or name in verdict.family else None
        table.add_row(name, *cells, style=style)
    return table


def _print_costs(console: Console, row: Attribution, verdict: Verdict) -> None:
    costs = ", ".join(f"{one.name} {one.cost_ms:.0f} ms" for one in verdict.evidence)
    console.print(f"Cost: {row.ms.total_ms:.0f} ms ({costs})")
    if row.resyntheses is not None:
        console.print(_cost_table(row.resyntheses.trace))


def _cost_table(trace: Trace) -> Table:
    """Return one row per stage of resynthesis, and below it its graphs."""
    from rich import box
    from rich.table import Table

    table = Table("stage", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("calls", "results", "from the cache", "ms", "share"):
        table.add_column(column, justify="right")
    for name, cost in trace.stages.items():
        counts = (str(cost.calls), str(cost.items), str(cost.cached))
        table.add_row(name, *counts, *_time_cells(cost.seconds, trace.seconds))
    for name, cost in trace.graphs.items():
        cells = _time_cells(cost.seconds, trace.seconds)
        table.add_row(f"  {name}", str(cost.calls), "", "", *cells, style="dim")
    return table


def _time_cells(seconds: float, total: float) -> tuple[str, str]:
    return f"{1e3 * seconds:.1f}", f"{100 * seconds / max(total, 1e-9):.0f} %"
