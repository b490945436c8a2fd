"""`lineup scan` by a lineup: which evidence, in which order, with how much in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lineup.cli.lineup_options import (
    CASCADE_CHOICES,
    RESYNTHESIS_CHOICES,
    attribution_options_from_choices,
    cascade_options,
    lineup_option,
    memory_budget_option,
    no_cache_option,
    resynthesis_options,
)
from lineup.cli.options import with_options
from lineup.errors import UsageError

if TYPE_CHECKING:
    from lineup.attribution.engine import LineupEngine
    from lineup.attribution.options import AttributionOptions
    from lineup.lineups.store import Lineup
    from lineup.planning.plan import Order
    from lineup.scan.encoding import RowEncoder, RowFormat
    from lineup.scan.inputs import ScanInputs
    from lineup.scan.lineup_rows import ChunkLimits
    from lineup.scan.meter import ScanMeter
    from lineup.scan.options import ScanOptions
    from lineup.scan.output import Output

Command = TypeVar("Command", bound=Callable[..., Any])

REDRAW_CHOICES = (*RESYNTHESIS_CHOICES, *CASCADE_CHOICES, "order", "memory_budget", "no_cache")
SCAN_CHOICES = ("lineup", *REDRAW_CHOICES)
"""What `scan_lineup_options` adds."""

MIB = 2**20
MOST_READING_BYTES = 64 * MIB
READING_SHARE = 16
"""Images that wait take this part of a memory budget, at most `MOST_READING_BYTES`."""


def scan_lineup_options(command: Command) -> Command:
    """Add the options of `SCAN_CHOICES`."""
    order = click.option(
        "--order",
        type=click.Choice(["image-major", "stage-major"]),
        help="Finish image by image with all models loaded, or pass many images through one model "
        "after the other; the rows are the same.  [default: as the memory budget asks]",
    )
    options = (
        lineup_option,
        resynthesis_options,
        cascade_options,
        memory_budget_option,
        order,
        no_cache_option,
    )
    return with_options(command, options)


def asks_for_lineup(evidence: str, choices: Mapping[str, Any]) -> bool:
    """Return whether a scan takes more than the gallery's fingerprints.

    Raises:
        UsageError: Something is said on redrawing that nobody asked for.
    """
    redraws = "resynthesis" in evidence
    said = [name for name in REDRAW_CHOICES if choices[name] not in (None, False)]
    if said and not redraws:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in said)
        raise UsageError(
            f"{options} is about redrawn images, which were not asked for.",
            hint="Add --evidence fingerprint,resynthesis.",
        )
    return redraws or choices["lineup"] is not None


@dataclass(frozen=True, slots=True)
class LineupScan:
    """A scan by a lineup, before anything is loaded.

    Attributes:
        lineup: The lineup.
        question: Which evidence, and how.
        chunk: How many images are worked on together.
        keeps_models: Whether all models stay loaded.
        options: How images are read.
    """

    lineup: Lineup
    question: AttributionOptions
    chunk: ChunkLimits
    keeps_models: bool
    options: ScanOptions

    def write(
        self,
        inputs: ScanInputs,
        output: Output,
        row_format: RowFormat,
        engine: LineupEngine,
        meter: ScanMeter,
        progress: AbstractContextManager[Callable[[], None] | None],
    ) -> None:
        """Scan into an output that was opened, not begun."""
        from lineup.scan.lineup_rows import lineup_rows
        from lineup.scan.run import write_rows

        output.begin(self._encoder(row_format, engine), engine.run_id(self.question))
        with progress as on_progress:
            rows = lineup_rows(
                inputs.images(),
                engine,
                self.question,
                self.options,
                chunk=self.chunk,
                done=output.done,
                meter=meter,
            )
            write_rows(rows, output, meter, on_progress)

    def _encoder(self, row_format: RowFormat, engine: LineupEngine) -> RowEncoder:
        from lineup.scan.lineup_encoding import lineup_encoder

        return lineup_encoder(
            row_format,
            candidates=engine.candidates,
            fingerprinted=engine.engine.names,
            redrawn=[one.name for one in self.lineup.spec.candidates],
            evidence=self.question.evidence or engine.evidence,
            tells_real=engine.engine.extractor.tells_real,
        )


def lineup_scan(evidence: str, options: ScanOptions, choices: Mapping[str, Any]) -> LineupScan:
    """Read the lineup and plan the scan; nothing is loaded.

    Args:
        evidence: As given.
        options: How images are read.
        choices: Of `SCAN_CHOICES`.

    Raises:
        LineupError: The lineup cannot be used, or the memory budget is too small.
    """
    from lineup.lineups.store import open_lineup
    from lineup.planning.plan import Order
    from lineup.scan.lineup_rows import ONE_BY_ONE, ChunkLimits

    lineup = open_lineup(choices["lineup"])
    question = attribution_options_from_choices(lineup, evidence, choices)
    order = None if choices["order"] is None else Order(choices["order"])
    if "resynthesis" not in evidence:  # one call of the model for several images
        chunk = ChunkLimits(images=options.batch)
        return LineupScan(lineup, question, chunk, keeps_models=True, options=options)
    if choices["memory_budget"] is None and order is None:
        return LineupScan(lineup, question, ONE_BY_ONE, keeps_models=True, options=options)
    return _planned(lineup, question, options, order, choices["memory_budget"])


def _planned(
    lineup: Lineup,
    question: AttributionOptions,
    options: ScanOptions,
    order: Order | None,
    budget: str | None,
) -> LineupScan:
    """Let the planner decide; what it remarks goes to stderr."""
    from lineup.memory import LITTLE, keep_freed_memory
    from lineup.planning.budget import bytes_from_text, plan_for_lineup
    from lineup.planning.plan import MAX_CHUNK, Order
    from lineup.scan.lineup_rows import ChunkLimits

    keep_freed_memory(LITTLE)  # a plan counts what is in use
    budget_bytes = None if budget is None else bytes_from_text(budget)
    reading_bytes = 0
    if budget_bytes is not None:
        reading_bytes = min(MOST_READING_BYTES, budget_bytes // READING_SHARE)
        options = replace(options, look_ahead_bytes=reading_bytes)
    settings = question.resynthesis or lineup.spec.resynthesis
    plan = plan_for_lineup(
        lineup,
        images=MAX_CHUNK,
        gamma=settings.gamma,
        budget_bytes=budget_bytes,
        order=order,
        reading_bytes=reading_bytes,
    )
    for note in plan.notes:
        click.echo(f"note: {note}", err=True)
    chunk = ChunkLimits(images=plan.chunk)
    if reading_bytes:
        chunk = replace(chunk, size_bytes=reading_bytes)
    keeps_models = plan.order is Order.IMAGE_MAJOR
    return LineupScan(lineup, question, chunk, keeps_models=keeps_models, options=options)
