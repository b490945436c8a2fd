"""`lineup enroll` and `lineup gallery`: add, list and move the sources that lineup knows."""

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
    from lineup.gallery.summary import SourceDetails, SourceEntry

INTERRUPTED_EXIT_CODE = 130
DIGEST_DIGITS = 12

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


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
    from lineup.gallery.store import user_store
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
            base=_base_gallery(gallery),
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


@click.group(short_help="List and manage known sources.")
def gallery() -> None:
    """List and manage known sources."""


@gallery.command("list", short_help="List the sources.")
@gallery_option
@json_option
def list_sources(gallery: Path | None, as_json: bool) -> None:
    """List the sources of the shipped gallery and your own, or of the gallery DIR."""
    from lineup.gallery.summary import source_entries

    entries = source_entries(gallery)
    if as_json:
        _print_json([_record_from(entry) for entry in entries])
    elif entries:
        _print_table(entries)
    else:
        click.echo("no sources yet; add one with lineup enroll NAME PATHS...", err=True)


@gallery.command(short_help="Describe one source.")
@click.argument("name")
@gallery_option
@json_option
def show(name: str, gallery: Path | None, as_json: bool) -> None:
    """Describe the source NAME.

    Coherence is the mean cosine over all pairs of its images' fingerprints: near 0 the images
    have nothing in common, and attributions to the source cannot be trusted.
    """
    from lineup.gallery.summary import source_details

    details = source_details(name, gallery)
    if as_json:
        _print_json(_record_from(details))
        return
    coherence = "needs two images" if details.coherence is None else f"{details.coherence:.4f}"
    for label, value in (
        ("name", details.name),
        ("role", details.role.value),
        ("images", str(details.count)),
        ("coherence", coherence),
        ("stored", " + ".join(origin.value for origin in details.origins)),
        ("fingerprint", details.fingerprint[:DIGEST_DIGITS]),
        ("provenance", details.provenance or "not given"),
    ):
        click.echo(f"{label:<12} {value}")


@gallery.command(short_help="Remove one of your sources.")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@gallery_option
def remove(name: str, yes: bool, gallery: Path | None) -> None:
    """Remove the source NAME from your gallery, or from the gallery DIR."""
    from lineup.gallery.gallery import source_not_found
    from lineup.gallery.store import user_store
    from lineup.gallery.summary import Origin, source_entries

    entries = source_entries(gallery)
    mine = {entry.name: entry for entry in entries if entry.origin is Origin.USER}
    shipped = gallery is None and any(
        entry.name == name and entry.origin is Origin.SHIPPED for entry in entries
    )
    if name not in mine:
        if shipped:
            raise UsageError(
                f"the source {name!r} ships with lineup and cannot be removed",
                hint="To scan without it, make a gallery of your own and pass it with --gallery.",
            )
        raise source_not_found(name, mine)
    if not yes:
        question = f"Remove {name} with {mine[name].count} images?"
        click.confirm(question, abort=True, err=True)
    user_store(gallery).remove(name)
    rest = "; the shipped images of the same name stay" if shipped else ""
    click.echo(f"removed {name}{rest}")


@gallery.command("export", short_help="Write sources to one file.")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--source", "sources", multiple=True, metavar="NAME", help="Only this one; can be repeated."
)
@gallery_option
def export_sources(file: Path, sources: tuple[str, ...], gallery: Path | None) -> None:
    """Write the gallery to FILE (.safetensors), to be read with `lineup gallery import`.

    The file holds fingerprints and hashes of the images, never pixels.
    """
    from lineup.gallery.archive import write_archive
    from lineup.gallery.store import open_gallery

    opened = open_gallery(gallery)
    write_archive(file, opened, sources=sources or None)
    names = sorted(set(sources or opened.sources))
    click.echo(f"wrote {', '.join(names)} to {file}")


@gallery.command("import", short_help="Merge another gallery into yours.")
@click.argument("path", metavar="FILE_OR_DIR", type=click.Path(path_type=Path))
@gallery_option
def import_sources(path: Path, gallery: Path | None) -> None:
    """Merge an exported FILE or another gallery folder into your gallery, or the gallery DIR.

    Images that are there already are skipped. Either everything is imported or nothing.
    """
    from lineup.gallery.store import user_store
    from lineup.gallery.transfer import gallery_from_path, import_gallery

    incoming = gallery_from_path(path)
    added = import_gallery(user_store(gallery), incoming, base=_base_gallery(gallery))
    for name, count in added.items():
        present = len(incoming.source(name)) - count
        click.echo(f"{name}: imported {count} new, {present} already there")


def _base_gallery(gallery: Path | None) -> Gallery | None:
    """Return what enrolments are merged with: the shipped gallery, unless a folder is named."""
    from lineup.gallery.store import shipped_gallery

    return None if gallery is not None else shipped_gallery()


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


def _print_table(entries: Sequence[SourceEntry]) -> None:
    rows = [("source", "role", "images", "stored", "fingerprint", "provenance")]
    rows += [
        (
            entry.name,
            entry.role.value,
            str(entry.count),
            entry.origin.value,
            entry.fingerprint[:DIGEST_DIGITS],
            entry.provenance,
        )
        for entry in entries
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _record_from(summary: SourceEntry | SourceDetails) -> dict[str, object]:
    import dataclasses

    return dataclasses.asdict(summary)


def _print_json(value: object) -> None:
    import json

    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
