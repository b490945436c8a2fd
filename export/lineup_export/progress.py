"""What an export tells the person who waits for it."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from lineup_export.assembly import ExportedBundle, Watch
    from lineup_export.component import ComponentReport


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
