"""Verdicts for people: the answer in words, and tables of what it rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lineup.cli.tables import console_for_tables, figures_table, say, say_paragraph
from lineup.wording import (
    caveat_from_verdict,
    is_unjudged,
    likeliest_sources,
    percent,
    remarks,
    sentence_from_verdict,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from lineup.claims import Origin
    from lineup.results import Attribution, Verdict
    from lineup.trace import Trace


def print_attribution(row: Attribution, *, explain: bool) -> None:
    """Print a verdict on stdout: a sentence, the likeliest sources and one caveat.

    Args:
        row: The image and its verdict.
        explain: Whether everything that it rests on follows.
    """
    console = console_for_tables()
    verdict = row.verdict
    assert verdict is not None
    say(row.path or "image", console=console, style="bold")
    notes = remarks(row.notes, verdict)
    if row.origin is not None and row.origin.statement is not None:
        say_paragraph(row.origin.statement, console=console)
    say_paragraph(sentence_from_verdict(verdict), console=console, style="bold")
    if row.disagreement is not None:
        say_paragraph(f"They disagree: {row.disagreement}.", console=console, style="bold")
    if not is_unjudged(verdict):
        likeliest = (f"{name} {percent(p)}" for name, p in likeliest_sources(verdict).items())
        say_paragraph(f"Likeliest sources: {', '.join(likeliest)}.", console=console)
    say_paragraph(notes[0] if notes else caveat_from_verdict(verdict), console=console, style="dim")
    if explain:
        about = f"{row.width_px}x{row.height_px} {row.format}, sha256 {row.sha256}"
        console.print()
        say(about, console=console, style="dim")
        _print_sets(console, verdict)
        console.print(_evidence_table(verdict))
        for one in verdict.evidence:
            if one.channel is not None:
                say(f"Channel by {one.name}: {one.channel}", console=console)
            if one.nearest:
                say(f"Nearest images by {one.name}: {', '.join(one.nearest)}", console=console)
            if one.in_words is not None:
                say_paragraph(one.in_words, console=console)
        if row.resyntheses is not None:
            for name, caption in row.resyntheses.stored.items():
                count = len(row.resyntheses.images[name])
                of = f", of: {caption}" if caption else ""
                say(f"Made elsewhere by {name}: {count} resyntheses{of}", console=console)
        _print_costs(console, row, verdict)
        if row.origin is not None:
            print_origin(console, row.origin)
        for note in notes:
            say(f"note: {note}", console=console)
    console.print()


def print_origin(console: Console, origin: Origin) -> None:
    """Print every claim with its fields, and what was not read."""
    for claim in origin.claims:
        console.print(f"Declared ({claim.reader}): {claim.text}", markup=False, soft_wrap=True)
        for name, text in claim.details.items():
            console.print(f"  {name}: {text}", markup=False, soft_wrap=True, style="dim")
    for note in origin.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)


def _print_sets(console: Console, verdict: Verdict) -> None:
    if verdict.family:
        members = ", ".join(verdict.family)
        say(f"Family: {members} share their decoder and cannot be told apart here", console=console)
    if verdict.candidates_set:
        say(f"Conformal set: {', '.join(verdict.candidates_set)}", console=console)
    if verdict.caption is not None:
        say(f"Caption: {verdict.caption}", console=console)


def _evidence_table(verdict: Verdict) -> Table:
    """Return one row per source, with score and log likelihood ratio (LLR) of each evidence."""
    from rich import box

    heads = ["source", "posterior"]
    for one in verdict.evidence:
        heads += [f"{one.name}\nscore", "\nLLR"]
    table = figures_table(*heads, box=box.SIMPLE_HEAD, pad_edge=False)
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

    heads = ("stage", "calls", "results", "from the cache", "ms", "share")
    table = figures_table(*heads, box=box.SIMPLE_HEAD, pad_edge=False)
    for name, cost in trace.stages.items():
        counts = (str(cost.calls), str(cost.items), str(cost.cached))
        table.add_row(name, *counts, *_time_cells(cost.seconds, trace.seconds))
    for name, cost in trace.graphs.items():
        cells = _time_cells(cost.seconds, trace.seconds)
        table.add_row(f"  {name}", str(cost.calls), "", "", *cells, style="dim")
    return table


def _time_cells(seconds: float, total: float) -> tuple[str, str]:
    return f"{1e3 * seconds:.1f}", f"{100 * seconds / max(total, 1e-9):.0f} %"
