"""What the export commands share: their options, and what they tell the person who waits."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineup.bundles.manifest import BatchRange, Precision

if TYPE_CHECKING:
    from lineup_export.assembly import ExportedBundle, Watch
    from lineup_export.component import ComponentReport


class Precisions(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """One or several number formats, separated by commas."""

    name = "fp32,fp16"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Precision, ...]:
        """Return the formats in the order given, each once."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(dict.fromkeys(Precision(word.strip()) for word in value.split(",")))
        except ValueError:
            self.fail(f"{value!r} is not one or several of fp32, fp16", param, ctx)


precision_option = click.option(
    "--precision",
    type=Precisions(),
    default="fp32",
    show_default=True,
    help="Number format of weights and computation: fp32 for CPUs, fp16 for GPUs. With "
    "several, each gets a folder of its own inside the output.",
)

opset_option = click.option(
    "--opset", type=click.IntRange(18, 20), default=18, show_default=True, help="ONNX operator set."
)


class Batch(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A number, or a range of numbers, from 1."""

    name = "N|LOW:HIGH"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> BatchRange:
        """Return the range; one number is both its ends."""
        if isinstance(value, BatchRange):
            return value
        words = value.split(":")
        numbers = [int(word) for word in words if word.isdecimal()]
        if len(words) > 2 or len(numbers) < len(words) or not 1 <= numbers[0] <= numbers[-1]:
            self.fail(
                f"{value!r} is neither a number from 1 nor a rising range, e.g. 1:4", param, ctx
            )
        return BatchRange(numbers[0], numbers[-1])


batch_option = click.option(
    "--batch",
    type=Batch(),
    default=None,
    show_default="any number",
    help="Images (prompts, sequences) that every graph takes at a time: always N, or any "
    "number, of which `lineup build` makes LOW to HIGH its default.",
)

overwrite_option = click.option("--overwrite", is_flag=True, help="Replace a bundle that is there.")


def folder_for_precision(output: Path, precision: Precision, all_of: int) -> Path:
    """Return where bundles of a precision go: `output`, or a folder in it when it is not alone."""
    return output if all_of == 1 else output / precision.value


@contextlib.contextmanager
def component_progress(title: str) -> Iterator[Watch]:
    """Show which component is exported: a bar on a terminal, nothing in a pipe."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=None)

        def watch(role: str, number: int, total: int) -> None:
            progress.update(task, description=f"{title}: {role}", completed=number, total=total)

        yield watch


@contextlib.contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the program as Ctrl-C does: what was begun is removed.

    Without it a cancelled job leaves the gigabytes of a bundle that never came to be.
    """

    def stop(*_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def echo_report(exported: ExportedBundle) -> None:
    """Print where the bundle is and what was measured, one line per component."""
    bundle = exported.bundle
    about = bundle.manifest
    click.echo(f"{bundle.path}: {about.precision.value}, {about.size_bytes / 1e6:.1f} MB")
    for report in exported.reports:
        islands = f", fp32 islands: {' and '.join(report.islands)}" if report.islands else ""
        parity = report.parity
        click.echo(
            f"  {report.role}: {report.parameters / 1e6:.2f} M parameters, "
            f"{report.size_bytes / 1e6:.1f} MB, {parity.metric} {parity.value:.2g} "
            f"(at most {parity.tolerance:.2g}), cosine {report.cosine:.8f} against "
            f"{parity.reference}, {report.export_seconds:.1f} s{_memory_text(report)}{islands}"
        )


def _memory_text(report: ComponentReport) -> str:
    peak = report.export_peak
    if peak is None:
        return ""
    return f", {peak.anonymous_mib:.0f} MiB + {peak.file_backed_mib:.0f} MiB of files at most"
