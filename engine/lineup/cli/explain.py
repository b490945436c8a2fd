"""Verdicts for people: the answer in words, and tables of what it rests on."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from lineup.channels import CLEAN, text_from_channel
from lineup.cli.tables import console_for_tables, say
from lineup.results import GENERATED, PHOTOGRAPH, UNDETERMINED
from lineup.text import shown

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from lineup.claims import Origin
    from lineup.results import Attribution, Verdict
    from lineup.trace import Trace


LINE_COLUMNS = 80
LIKELIEST = 3
NO_PROOF = "Nothing found is no proof of a photograph."
NO_NAME = "A generator that is not in the gallery may be given a name that is."
NO_CERTAINTY = "A photograph may be called generated."


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
    remarks = _remarks(row, verdict)
    if row.origin is not None and row.origin.statement is not None:
        _print_lines(console, row.origin.statement)
    _print_lines(console, sentence_from_verdict(verdict), style="bold")
    if row.disagreement is not None:
        _print_lines(console, f"They disagree: {row.disagreement}.", style="bold")
    if not _is_unjudged(verdict):
        _print_lines(console, _likeliest(verdict))
    caveat = {GENERATED: NO_CERTAINTY, UNDETERMINED: NO_PROOF}.get(verdict.label, NO_NAME)
    _print_lines(console, remarks[0] if remarks else caveat, style="dim")
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
                _print_lines(console, one.in_words)
        _print_costs(console, row, verdict)
        if row.origin is not None:
            print_origin(console, row.origin)
        for note in remarks:
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


def sentence_from_verdict(verdict: Verdict) -> str:
    """Return the verdict as people say it."""
    share = verdict.title_probability
    if share is None:
        if _is_unjudged(verdict):
            return "Undetermined: nothing in this image speaks for or against any source."
        return "Undetermined: no source stands out."
    if verdict.label == GENERATED:
        return f"Most likely generated, by none of the sources known ({_percent(share)})."
    channels = [one.channel for one in verdict.evidence if one.channel is not None]
    handled = bool(channels) and channels[-1] != CLEAN
    seen = f"; seen through {text_from_channel(channels[-1])}" if handled else ""
    return f"Most likely made by {verdict.title} ({_percent(share)}){seen}."


def _is_unjudged(verdict: Verdict) -> bool:
    """Tell whether no evidence says anything; the published procedures have scores alone."""
    return not verdict.evidence or all(
        one.llr and not any(one.llr.values()) for one in verdict.evidence
    )


def _likeliest(verdict: Verdict) -> str:
    nobody = (GENERATED, PHOTOGRAPH)
    sources = [(name, p) for name, p in verdict.posterior.items() if name not in nobody]
    ranked = sorted(sources, key=lambda item: -item[1])[:LIKELIEST]
    return "Likeliest sources: " + ", ".join(f"{name} {_percent(p)}" for name, p in ranked) + "."


def _remarks(row: Attribution, verdict: Verdict) -> list[str]:
    """Return what the reader and the evidence remarked, each once."""
    notes = [note for one in verdict.evidence for note in one.notes]
    return list(dict.fromkeys((*row.notes, *verdict.notes, *notes)))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if 0.01 <= share <= 0.99 else f"{100 * share:.1f} %"


def _print_lines(console: Console, text: str, style: str | None = None) -> None:
    for line in textwrap.wrap(shown(text), LINE_COLUMNS):
        say(line, console=console, style=style)


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
