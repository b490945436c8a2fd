"""`lineup enroll`: add images of a source to the gallery."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lineup.cli.options import device_option, fingerprint_option, gallery_option, threads_option
from lineup.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lineup.evidence.fingerprint import FingerprintExtractor
    from lineup.gallery.enroll import EnrollOptions, EnrollReport
    from lineup.gallery.gallery import Gallery
    from lineup.gallery.store import GalleryStore

INTERRUPTED_EXIT_CODE = 130
DIGEST_DIGITS = 12


@click.command(short_help="Add images of a source to the gallery.")
@click.argument("name")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
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
    help="Images per run of the model; each batch is stored as soon as it is done.",
)
@click.option(
    "--resyntheses-of",
    "query",
    metavar="IMAGE",
    help="PATHS are what NAME made of this one image's caption, elsewhere: they are compared with "
    "it (or with the image of this SHA-256) alone and do not join the gallery.",
)
@gallery_option
@fingerprint_option
@device_option
@threads_option
def enroll(
    *,
    name: str,
    paths: tuple[Path, ...],
    query: str | None,
    role: str | None,
    provenance: str,
    batch_size: int,
    gallery: Path | None,
    fingerprint: str | None,
    device: str,
    threads: int,
) -> None:
    """Add images of a source to the gallery.

    NAME is the generator that made the images, or "real" for photographs. PATHS are images,
    folders or patterns. They go to your own gallery, or to the gallery DIR. Images that are
    enrolled already are skipped, so the command can be repeated when a folder has grown.
    """
    from lineup.evidence.fingerprint import open_extractor
    from lineup.gallery.enroll import EnrollOptions
    from lineup.gallery.gallery import SourceRole, check_source_name
    from lineup.gallery.opening import shipped_gallery, user_store
    from lineup.imaging.find import find_images

    if query is not None:
        _enroll_resyntheses(name, paths, query)
        return
    options = EnrollOptions(
        role=None if role is None else SourceRole(role),
        provenance=provenance,
        batch_size=batch_size,
    )
    check_source_name(name, options.role)
    images = list(find_images(paths))
    if not images:
        raise UsageError("found no image in the given paths", hint="Name images or their folder.")
    store = user_store(gallery)
    with open_extractor(fingerprint, device=device, threads=threads) as extractor:
        report = _enroll_images(
            store,
            name=name,
            images=images,
            extractor=extractor,
            options=options,
            base=None if gallery is not None else shipped_gallery(),
        )
    for failure in report.failed:
        path, message = str(failure.path), failure.message
        click.echo(message if message.startswith(path) else f"{path}: {message}", err=True)
    click.echo(
        f"enrolled {report.added} new, {report.present} already there, "
        f"{len(report.failed)} failed; {name} now has {report.total} images"
    )
    if report.failed:
        raise click.exceptions.Exit(1)


def _enroll_resyntheses(name: str, paths: tuple[Path, ...], query: str) -> None:
    """Store resyntheses made elsewhere under the hash of their query."""
    import re

    from lineup.evidence.provided import open_provided
    from lineup.files import sha256_from_bytes
    from lineup.gallery.gallery import SourceRole, check_source_name
    from lineup.imaging.decode import bytes_from_path
    from lineup.imaging.find import find_images

    check_source_name(name, SourceRole.CANDIDATE)
    is_digest = re.fullmatch(r"[0-9a-f]{64}", query) is not None
    sha256 = query if is_digest else sha256_from_bytes(bytes_from_path(Path(query)))
    images = list(find_images(paths))
    if not images:
        raise UsageError("found no image in the given paths", hint="Name images or their folder.")
    report = open_provided().add(sha256, name, images)
    for path, message in report.failed:
        click.echo(message if message.startswith(str(path)) else f"{path}: {message}", err=True)
    click.echo(
        f"stored {report.added} new resyntheses by {name}, {report.present} already there, "
        f"{len(report.failed)} failed; "
        f"they count when the image {sha256[:DIGEST_DIGITS]} is attributed"
    )
    if report.failed:
        raise click.exceptions.Exit(1)


def _enroll_images(
    store: GalleryStore,
    *,
    name: str,
    images: Sequence[Path],
    extractor: FingerprintExtractor,
    options: EnrollOptions,
    base: Gallery | None,
) -> EnrollReport:
    """Enrol with a progress bar; an interrupt says what was kept."""
    from rich.console import Console
    from rich.progress import Progress

    from lineup.gallery.enroll import enroll as enroll_images

    console = Console(stderr=True)
    before = len(store.ids(name))
    try:
        with Progress(console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task(f"enrolling {name}", total=len(images))

            def on_progress(report: EnrollReport) -> None:
                progress.update(task, completed=report.seen)

            return enroll_images(
                store, name, images, extractor, options=options, base=base, on_progress=on_progress
            )
    except KeyboardInterrupt:
        kept = len(store.ids(name)) - before  # asked of the folder, which is never half-way
        click.echo(f"Interrupted: {kept} new images of {name} are enrolled and stay.", err=True)
        raise click.exceptions.Exit(INTERRUPTED_EXIT_CODE) from None
