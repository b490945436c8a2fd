"""What the export commands share: their options, and what they tell the person who waits."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from lineup.bundles.manifest import BatchRange, Precision
from lineup.cli.tables import messages_console, say

if TYPE_CHECKING:
    from lineup_export.assembly import ExportedBundle, Watch


def precisions_from_text(_: object, __: object, value: str) -> tuple[Precision, ...]:
    """Return one or several number formats, separated by commas, each once."""
    try:
        return tuple(dict.fromkeys(Precision(word.strip()) for word in value.split(",")))
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not one or several of fp32, fp16, int8") from error


precision_option = click.option(
    "--precision",
    metavar="FP32,FP16,INT8",
    callback=precisions_from_text,
    default="fp32",
    show_default=True,
    help="Number format: fp32 for CPUs; fp16 for GPUs; int8 for CPUs where a generator's weights "
    "are too many, which are stored in a quarter and computed with in fp32. With several, each "
    "gets a folder of its own inside the output.",
)

opset_option = click.option(
    "--opset", type=click.IntRange(18, 20), default=18, show_default=True, help="ONNX operator set."
)


def batch_from_text(_: object, __: object, value: str | None) -> BatchRange | None:
    """Return a range of numbers from 1; one number is both its ends."""
    if value is None:
        return None
    words = value.split(":")
    numbers = [int(word) for word in words if word.isdecimal()]
    if len(words) > 2 or len(numbers) < len(words) or not 1 <= numbers[0] <= numbers[-1]:
        raise click.BadParameter(
            f"{value!r} is neither a number from 1 nor a rising range, e.g. 1:4"
        )
    return BatchRange(numbers[0], numbers[-1])


batch_option = click.option(
    "--batch",
    metavar="N|LOW:HIGH",
    callback=batch_from_text,
    default=None,
    show_default="any number",
    help="Images (prompts, sequences) that every graph takes at a time: always N, or any "
    "number, of which `lineup build` makes LOW to HIGH its default.",
)

overwrite_option = click.option("--overwrite", is_flag=True, help="Replace a bundle that is there.")


def export_and_report(title: str, made: Callable[[Watch], ExportedBundle]) -> None:
    """Export a bundle, show which component is at work, and print what was measured."""
    with stopped_by_sigterm(), _component_progress(title) as watch:
        exported = made(watch)
    _echo_report(exported)


@contextlib.contextmanager
def _component_progress(title: str) -> Iterator[Watch]:
    """Show which component is exported: a bar on a terminal, nothing in a pipe."""
    from rich.progress import Progress  # noqa: PLC0415

    messages = messages_console()
    with Progress(console=messages, transient=True, disable=not messages.is_terminal) as progress:
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


def _echo_report(exported: ExportedBundle) -> None:
    """Print where the bundle is and what was measured, one line per component."""
    bundle = exported.bundle
    about = bundle.manifest
    say(f"{bundle.path}: {about.precision.value}, {about.size_bytes / 1e6:.1f} MB")
    for report in exported.reports:
        parity, peak = report.parity, report.export_peak
        line = (
            f"  {report.role}: {report.parameters / 1e6:.2f} M parameters, "
            f"{report.size_bytes / 1e6:.1f} MB, {parity.metric} {parity.value:.2g} "
            f"(at most {parity.tolerance:.2g}), cosine {report.cosine:.8f} against "
            f"{parity.reference}, {report.export_seconds:.1f} s"
        )
        if peak is not None:
            line += f", {peak.anonymous_mib:.0f} MiB + {peak.file_backed_mib:.0f} MiB of files"
            line += " at most"
        if report.islands:
            line += f", fp32 islands: {' and '.join(report.islands)}"
        say(line)
