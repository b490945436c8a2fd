"""`lineup enroll`: add images of a source to the gallery."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineup.cli.options import (
    complete_sources,
    device_option,
    fingerprint_option,
    gallery_option,
    threads_option,
)
from lineup.cli.progress import SOME_FAILED, failure_line, images_from_arguments
from lineup.cli.streams import INTERRUPTED
from lineup.cli.tables import messages_console, say

if TYPE_CHECKING:
    from lineup.engine import Engine
    from lineup.gallery.enroll import EnrollOptions, EnrollReport


@click.command(short_help="Add images of a source to the gallery.")
@click.argument("name", shell_complete=complete_sources)
@click.argument("paths", nargs=-1, required=True)
@click.option(
    "--role",
    type=click.Choice(["candidate", "real"]),
    help="Generator or photographs.  [default: candidate, or what the source already is]",
)
@click.option("--provenance", default="", metavar="TEXT", help="Where the images came from.")
@click.option(
    "--batch",
    "batch_size",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    metavar="N",
    help="Images that are stored together, as soon as they are done.",
)
@click.option(
    "--channels",
    type=click.Choice(["all", "clean"]),
    default="all",
    show_default=True,
    help="Whether images are also passed through JPEG, resizes and a drawn channel, so that "
    "handled queries are compared with their like.",
)
@gallery_option
@fingerprint_option
@device_option
@threads_option
def enroll(
    *,
    name: str,
    paths: tuple[str, ...],
    role: str | None,
    provenance: str,
    batch_size: int,
    channels: str,
    **place: Any,
) -> None:
    """Add images of a source to the gallery.

    NAME is the generator that made the images, or "real" for photographs. PATHS are images,
    folders or patterns. They go to your own gallery, or to the gallery DIR. Images that are
    enrolled already are skipped, so the command can be repeated when a folder has grown.
    """
    from lineup.engine import open_engine
    from lineup.gallery.enroll import EnrollOptions
    from lineup.gallery.support import SourceRole, check_source_name
    from lineup.gallery.views import ENROLLED_CHANNELS

    options = EnrollOptions(
        role=None if role is None else SourceRole(role),
        provenance=provenance,
        batch_size=batch_size,
        channels=ENROLLED_CHANNELS if channels == "all" else (),
    )
    check_source_name(name, options.role)
    images = images_from_arguments(paths)
    with open_engine(**place) as engine:
        report = _enroll_images(engine, name, images, options)
    for failure in report.failed:
        say(failure_line(failure.path, failure.message), err=True)
    say(
        f"enrolled {report.added} new, {report.present} already there, "
        f"{len(report.failed)} failed; {name} now has {report.total} images"
    )
    if report.failed:
        raise click.exceptions.Exit(SOME_FAILED)


def _enroll_images(
    engine: Engine, name: str, images: list[Path], options: EnrollOptions
) -> EnrollReport:
    """Enrol with a progress bar; an interrupt says what was kept."""
    from rich.progress import Progress

    console = messages_console()
    kept = 0
    try:
        with Progress(console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task(f"enrolling {name}", total=len(images))

            def on_progress(report: EnrollReport) -> None:
                nonlocal kept
                kept = report.added
                progress.update(task, completed=report.seen)

            return engine.enroll(name, images, options=options, on_progress=on_progress)
    except KeyboardInterrupt:
        say(f"Interrupted: {kept} new images of {name} are enrolled and stay.", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
