"""`lineup resyntheses`: pictures that generators elsewhere made of captions, kept per query."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineup.cli.options import json_option
from lineup.cli.progress import SOME_FAILED
from lineup.cli.tables import add_row, echo_json, plain_table, print_table, say, size_text
from lineup.errors import ResynthesisError, UsageError, did_you_mean
from lineup.text import short_digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lineup.stored.store import StoredSet

CAPTIONS_NAME = "captions.jsonl"

query_option = click.option(
    "--query", metavar="IMAGE", help="Only those of this image, a file or the SHA-256 of one."
)


@click.group(short_help="Keep pictures that others made of captions.")
def resyntheses() -> None:
    """Keep pictures that generators elsewhere made of captions.

    They are compared with the image whose caption they show when it is attributed by a lineup that
    lists their maker as a stored candidate (`lineup lineups create --stored-candidate NAME`).
    """


@resyntheses.command(short_help="Take in a folder of pictures.")
@click.argument("name")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--captions",
    required=True,
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="What `lineup captions` wrote: it says which pictures DIR should hold.",
)
def add(name: str, folder: Path, captions: Path) -> None:
    """Take in what NAME made of captions: the pictures in DIR.

    Of an image whose pictures are not all there and usable, none is taken, and the culprit is
    named; so is a picture that no caption asked for. Those of the same caption are replaced.

    Exit code: 0 everything was taken in, 1 something was not, 2 wrong usage.
    """
    from lineup.gallery.support import SourceRole, check_source_name
    from lineup.stored.captions import PictureFolder, rows_from_file
    from lineup.stored.store import open_stored

    check_source_name(name, SourceRole.CANDIDATE)
    rows, pictures, store = list(rows_from_file(captions)), PictureFolder(folder), open_stored()
    if not rows:
        raise UsageError(f"{captions} holds no captions.", hint="Make some: lineup captions.")
    added = present = failed = 0
    for row in rows:
        try:
            is_new = store.add(name, row, pictures.take(row))
        except ResynthesisError as error:
            failed += 1
            say(f"Error: {error.one_line}", err=True)
        else:
            added, present = added + is_new, present + (not is_new)
    for path in pictures.rest:
        say(f"Error: {path}: no line of {captions} asks for it.", err=True)
    if added:
        store.changed()
    say(
        f"{name}: pictures of {added} images are new, of {present} already there, "
        f"of {failed} missing or wrong"
    )
    if failed or pictures.rest:
        raise click.exceptions.Exit(SOME_FAILED)


@resyntheses.command("list", short_help="List whose pictures there are.")
@json_option
def list_candidates(as_json: bool) -> None:
    """List whose pictures there are, of how many images."""
    from lineup.stored.store import open_stored

    found: dict[str, list[StoredSet]] = {}
    for one in open_stored().sets():
        found.setdefault(one.candidate, []).append(one)
    counts = [_counts(name, found[name]) for name in sorted(found)]
    if as_json:
        echo_json(counts)
        return
    if not counts:
        say("none yet; add some with lineup resyntheses add NAME DIR --captions FILE", err=True)
        return
    table = plain_table("candidate", "images", "pictures", "size")
    for line in counts:
        size = size_text(line["size_bytes"])
        add_row(table, line["name"], str(line["images"]), str(line["pictures"]), size)
    print_table(table)


@resyntheses.command(short_help="Show what one candidate made.")
@click.argument("name")
@query_option
@json_option
def show(name: str, query: str | None, as_json: bool) -> None:
    """Show the captions and pictures of the candidate NAME; --json names the files."""
    sets = _sets_of(name, query)
    if as_json:
        echo_json([_record(one) for one in sets])
        return
    table = plain_table("image", "sha256", "pictures", "added", "caption")
    for one in sets:
        assert one.record is not None
        row, day = one.record.row, one.record.added.partition("T")[0]
        digest = short_digest(row.sha256)
        add_row(table, row.path or "-", digest, str(len(one.paths)), day, one.caption)
    print_table(table)


@resyntheses.command(short_help="Remove what one candidate made.")
@click.argument("name")
@query_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(name: str, query: str | None, yes: bool) -> None:
    """Remove the pictures of the candidate NAME, of one image or all."""
    from lineup.stored.store import open_stored

    sets = _sets_of(name, query)
    pictures = sum(len(one.paths) for one in sets)
    if not yes:
        click.confirm(f"Remove {pictures} pictures by {name}?", abort=True, err=True)
    store = open_stored()
    store.remove(name, None if query is None else _digest(query))
    store.changed()
    say(f"removed {pictures} pictures by {name}")


@resyntheses.command(short_help="Write what one candidate made to a folder.")
@click.argument("name")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@query_option
def export(name: str, folder: Path, query: str | None) -> None:
    """Write the pictures of the candidate NAME and their captions to a new folder DIR.

    `lineup resyntheses add NAME DIR --captions DIR/captions.jsonl` takes them in elsewhere.
    """
    from dataclasses import replace

    from lineup.files import link_or_copy, staged_directory
    from lineup.stored.captions import CAPTION_ROW

    sets = _sets_of(name, query)
    if folder.exists():
        raise UsageError(f"{folder} exists already.", hint="Name a folder that does not.")
    lines = []
    with staged_directory(folder) as staging:
        for number, one in enumerate(sets):
            assert one.record is not None
            # Names of their own: pictures of two files of captions may be called alike.
            names = [f"{number:05}-{seed}" for seed in one.record.row.seeds]
            for stem, path in zip(names, one.paths, strict=True):
                link_or_copy(path, staging / f"{stem}{path.suffix}")
            row = replace(one.record.row, pictures=tuple(names))
            lines.append(CAPTION_ROW.to_bytes(row, indent=None))
        (staging / CAPTIONS_NAME).write_bytes(b"".join(lines))
    say(f"{folder}: pictures by {name} of {len(sets)} captions, and {CAPTIONS_NAME}")


def _sets_of(name: str, query: str | None) -> list[StoredSet]:
    """Return a candidate's sets.

    Raises:
        UsageError: There are none.
    """
    from lineup.stored.store import open_stored

    store = open_stored()
    found = list(
        store.sets(name) if query is None else store.of_query(_digest(query), [name]).get(name, ())
    )
    if not found:
        names = sorted({one.candidate for one in store.sets()})
        of = "" if query is None or name not in names else f" of {query}"
        hint = did_you_mean(name, names) if not of else None
        raise UsageError(
            f"There are no pictures by {name!r}{of}.",
            hint=hint or "`lineup resyntheses list` shows whose there are.",
        )
    return found


def _digest(query: str) -> str:
    """Return the SHA-256 of an image that is named by it or by its file."""
    from lineup.files import sha256_from_bytes
    from lineup.imaging.decode import bytes_from_path

    if re.fullmatch(r"[0-9a-f]{64}", query):
        return query
    return sha256_from_bytes(bytes_from_path(Path(query)))


def _counts(name: str, sets: Sequence[StoredSet]) -> dict[str, Any]:
    paths = [path for one in sets for path in one.paths]
    return {
        "name": name,
        "images": len({path.parts[-4] for path in paths}),
        "pictures": len(paths),
        "size_bytes": sum(path.stat().st_size for path in paths if path.exists()),
    }


def _record(one: StoredSet) -> dict[str, object]:
    assert one.record is not None
    row = one.record.row
    return {
        "sha256": row.sha256,
        "path": row.path,
        "caption": row.caption,
        "captioner": row.captioner,
        "seeds": list(row.seeds),
        "pictures": [str(path) for path in one.paths],
        "added": one.record.added,
    }
