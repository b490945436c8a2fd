"""`lineup gallery`: list, describe, remove and move the sources that lineup knows."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lineup.cli.options import complete_sources, gallery_option, json_option
from lineup.cli.tables import add_row, echo_json, plain_table, print_table, say, say_paragraph
from lineup.errors import GalleryError, UsageError
from lineup.text import short_digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lineup.gallery.gallery import Gallery
    from lineup.gallery.opening import SourceEntry
    from lineup.gallery.support import SupportSet

AGEING = (
    "A gallery ages: what a generator makes after the years named may not be recognised until "
    "images of its new version are enrolled. ?: no year is named."
)


@click.group(short_help="List and manage known sources.")
def gallery() -> None:
    """List and manage known sources."""


@gallery.command("list", short_help="List the sources.")
@gallery_option
@json_option
def list_sources(gallery: Path | None, as_json: bool) -> None:
    """List the sources of the shipped gallery and your own, or of the gallery DIR.

    Families are sources whose fingerprints do not tell them apart. The years are those that a
    source's provenance names; `lineup gallery show NAME` has all of it.
    """
    from lineup.gallery.opening import known_gallery, source_entries

    entries = source_entries(gallery)
    if as_json:
        echo_json([{**asdict(entry), "years": entry.years} for entry in entries])
    elif entries:
        try:
            digest = entries[0].fingerprint
            opened: Gallery | None = known_gallery(gallery, fingerprint_digest=digest)
        except GalleryError as problem:  # as two fingerprints: each of the lists can be read
            opened = None
            say(problem.message, err=True)
        _print_table(entries, {} if opened is None else opened.sources)
        for family in () if opened is None else _families(opened):
            say_paragraph(f"One family by fingerprint: {', '.join(family)}.")
        if opened is not None and opened.others:
            others = ", ".join(sorted({one.name for one in opened.others}))
            say_paragraph(f"What other generators are like, never named: {others}.")
        say_paragraph(AGEING)
    else:
        say("no sources yet; add one with lineup enroll NAME PATHS...", err=True)


def _families(opened: Gallery) -> tuple[tuple[str, ...], ...]:
    """Return the sources that fingerprints do not tell apart."""
    from lineup.fingerprint import DEFAULT_BUNDLE
    from lineup.gallery.scoring import SourceScorer
    from lineup.runtime import Runtime

    bundle = Runtime().store.open(DEFAULT_BUNDLE)
    info, digest = bundle.manifest.fingerprint, opened.fingerprint_digest
    parts = info.parts if info is not None and bundle.digest == digest else ()
    return SourceScorer(opened, parts=parts).families


@gallery.command(short_help="Describe one source.")
@click.argument("name", shell_complete=complete_sources)
@gallery_option
@json_option
def show(name: str, gallery: Path | None, as_json: bool) -> None:
    """Describe the source NAME.

    Coherence is the mean cosine over all pairs of its images' fingerprints: near 0 the images
    have nothing in common, and attributions to the source cannot be trusted.
    """
    from lineup.gallery.opening import open_gallery, source_entries

    opened = open_gallery(gallery)
    support, digest = opened.source(name), opened.fingerprint_digest
    origins = [entry.origin.value for entry in source_entries(gallery) if entry.name == name]
    about = {"name": name, "role": support.role.value}
    if as_json:
        echo_json(
            {
                **about,
                "count": len(support),
                "coherence": support.coherence,
                "provenance": support.provenance,
                "channels": support.channels,
                "embedded": support.is_embedded,
                "bytes": support.stored_bytes,
                "origins": origins,
                "fingerprint": digest,
            }
        )
        return
    coherence = "needs two images" if support.coherence is None else f"{support.coherence:.4f}"
    about |= {"images": str(len(support)), "coherence": coherence, "stored": " + ".join(origins)}
    about |= {"channels": ", ".join(support.channels)}
    about |= {"embedded": "yes" if support.is_embedded else "no"}
    about |= {"size": f"{support.stored_bytes / 1e6:.1f} MB"}
    about |= {"fingerprint": short_digest(digest)}
    about |= {"provenance": support.provenance or "not given"}
    for label, value in about.items():
        say(f"{label:<12} {value}")


@gallery.command(short_help="Remove one of your sources.")
@click.argument("name", shell_complete=complete_sources)
@click.option("--yes", is_flag=True, help="Do not ask.")
@gallery_option
def remove(name: str, yes: bool, gallery: Path | None) -> None:
    """Remove the source NAME from your gallery, or from the gallery DIR."""
    from lineup.gallery.gallery import source_not_found
    from lineup.gallery.opening import Origin, source_entries, user_store

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
    say(f"removed {name}{rest}")


@gallery.command("export", short_help="Write sources to one file.")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_sources,
    help="Only this one; can be repeated.",
)
@gallery_option
def export_sources(file: Path, sources: tuple[str, ...], gallery: Path | None) -> None:
    """Write the gallery to FILE (.safetensors), to be read with `lineup gallery import`.

    The file holds fingerprints and hashes of the images, never pixels.
    """
    from lineup.finding import check_output
    from lineup.gallery.opening import open_gallery, user_store
    from lineup.gallery.tensors import write_gallery

    opened = open_gallery(gallery)
    stored = user_store(None if gallery is not None and gallery.is_file() else gallery).path
    check_output(file, [*stored.glob("*"), *([] if gallery is None else [gallery])])
    write_gallery(file, opened, sources=sources or None)
    names = sorted(set(sources or opened.sources))
    say(f"wrote {', '.join(names)} to {file}")


@gallery.command("import", short_help="Merge another gallery into yours.")
@click.argument("path", metavar="FILE_OR_DIR", type=click.Path(path_type=Path))
@gallery_option
def import_sources(path: Path, gallery: Path | None) -> None:
    """Merge an exported FILE or another gallery folder into your gallery, or the gallery DIR.

    Images that are there already are skipped. Either everything is imported or nothing.
    """
    from lineup.gallery.opening import (
        gallery_from_path,
        import_gallery,
        shipped_gallery,
        user_store,
    )

    incoming = gallery_from_path(path)
    added = import_gallery(
        user_store(gallery), incoming, base=None if gallery is not None else shipped_gallery()
    )
    for name, count in added.items():
        present = len(incoming.source(name)) - count
        say(f"{name}: imported {count} new, {present} already there")


def _print_table(entries: Sequence[SourceEntry], known: Mapping[str, SupportSet]) -> None:
    table = plain_table("source", "role", "images", "channels", "collected", "stored")
    for entry in entries:
        channels = str(len(known[entry.name].channels)) if known else "?"
        counts = (entry.role.value, str(entry.count), channels)
        add_row(table, entry.name, *counts, entry.years or "?", entry.origin.value)
    print_table(table)
