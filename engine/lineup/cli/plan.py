"""`lineup plan`: what a scan by resynthesis will need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lineup.cli.options import complete_lineups, device_option, json_option
from lineup.cli.tables import console_for_tables, echo_json, figures_table, say

if TYPE_CHECKING:
    from lineup.planning.plan import MemoryPlan


@click.command(short_help="Show what a scan needs in memory and time.")
@click.argument("lineup", required=False, shell_complete=complete_lineups)
@click.option("--images", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--gamma", type=click.IntRange(min=1), help="Pictures per candidate.")
@click.option(
    "--memory-budget",
    metavar="SIZE",
    help="Most memory to use, e.g. 900MiB or 2GiB.  [default: no limit]",
)
@device_option
@json_option
def plan(
    *,
    lineup: str | None,
    images: int,
    gamma: int | None,
    memory_budget: str | None,
    device: str,
    as_json: bool,
) -> None:
    """Show how LINEUP would scan so many images within a budget.

    Private memory has to fit; mapped weights are wanted in memory and may be read again. Costs are
    those that `lineup models measure` found on this machine, else, on the CPU, those of the machine
    that exported the bundles.
    """
    from dataclasses import asdict

    from lineup.lineups.store import open_lineup
    from lineup.planning.plan import bytes_from_text, plan_for_lineup

    budget = None if memory_budget is None else bytes_from_text(memory_budget)
    made = plan_for_lineup(
        open_lineup(lineup), images=images, gamma=gamma, budget_bytes=budget, device=device
    )
    if as_json:
        echo_json(asdict(made), indent=1)
        return
    _print_plan(made)


def _print_plan(made: MemoryPlan) -> None:
    from lineup.planning.plan import MIB

    heads = ("model", "stage", "loads", "runs", "private MiB", "weights MiB", "seconds")
    table = figures_table(*heads, texts=2)
    for stage in made.stages:
        table.add_row(
            stage.model,
            stage.stage.value,
            str(stage.loads),
            str(stage.runs),
            f"{stage.peak_bytes / MIB:.0f}",
            f"{stage.mapped_bytes / MIB:.0f}",
            f"{stage.seconds:.1f}",
        )
    console = console_for_tables()
    images = "one image" if made.chunk == 1 else f"{made.chunk} images"
    console.print(f"{made.order.value}, {images} at a time")
    console.print(table)
    console.print(
        f"predicted peak: {made.peak_bytes / MIB:.0f} MiB private, beside up to "
        f"{made.mapped_bytes / MIB:.0f} MiB of mapped weights; {made.seconds:.1f} s"
    )
    for note in made.notes:
        say(f"note: {note}", console=console)
