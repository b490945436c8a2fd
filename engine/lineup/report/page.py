"""A scan as one page: counts, every row, how the answers came about, and what they are worth."""

from __future__ import annotations

import base64
import collections
import gzip
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from lineup._version import __version__
from lineup.errors import ImageError, UsageError
from lineup.files import sha256_from_bytes, write_atomic
from lineup.gallery.opening import SourceEntry
from lineup.imaging.decode import bytes_from_path, image_from_bytes
from lineup.report.about import LIMITS, method, rates_in_words, sources_in_words
from lineup.report.entries import data_uri, entry_from_row
from lineup.report.rows import Row
from lineup.results import PHOTOGRAPH
from lineup.text import shown

PAGE_START = b"<!DOCTYPE html>"
CHUNK_ROWS = 2000
"""Rows that are packed together: the first chunk is drawn before the others are unpacked."""

MOST_EMBEDDED = 1000
"""Thumbnails of a page that has them inside: about 4 MB."""

STATIC = Path(__file__).parent / "static"


def write_report(
    rows: Iterable[Row],
    output: Path,
    *,
    embed: bool = False,
    results: Path | None = None,
    base: Path | None = None,
    sources: Sequence[SourceEntry] = (),
) -> None:
    """Render rows into one HTML file that asks no network for anything.

    Args:
        rows: The rows; taken one by one.
        output: The page; replaced in one step.
        embed: Whether the first `MOST_EMBEDDED` pictures are put into the page as thumbnails, where
            the file still is the one that was scanned. Otherwise the page refers to the files.
        results: The file of the rows.
        base: Folder that relative paths count from; None tries this one, then those that `results`
            lies in.
        sources: The gallery as it is now.

    Raises:
        UsageError: `output` is a file that is no page, such as an image or the rows.
    """
    _check_replaceable(output)
    folders = [Path()] if results is None else [Path(), *results.absolute().parents]
    folders = folders if base is None else [base]
    counts: collections.Counter[str] = collections.Counter()
    evidence: dict[str, None] = {}
    versions: dict[str, None] = {}

    def entries() -> Iterator[dict[str, Any]]:
        for number, row in enumerate(rows):
            picture = None
            if row.path is not None and row.error is None:
                if not embed:
                    picture = _link(row, folders, output.parent)
                elif number < MOST_EMBEDDED:
                    picture = _thumbnail(row, folders)
            entry = entry_from_row(row, picture)
            counts[entry["label"]] += 1
            evidence.update(dict.fromkeys(row.evidence or {}))
            versions[f"{row.lineup or 'unknown'}, run {row.run or 'unknown'}"] = None
            yield entry

    chunks = list(_packed(entries()))
    page = environment().get_template("report.html.j2")
    parts = page.generate(
        counts=counts.most_common(),
        total=counts.total(),
        versions=sorted(versions),
        embedded=min(MOST_EMBEDDED, counts.total()) if embed else 0,
        chunks=chunks,
        method=method(evidence),
        rates=rates_in_words(evidence),
        limits=LIMITS,
        sources=[(one, sources_in_words(one)) for one in sources],
        style=_inlined("lineup.css"),
        script=_inlined("rows.js", "report.js"),
        version=__version__,
    )
    write_atomic(output, (part.encode("utf-8", "backslashreplace") for part in parts))


def server_page(evidence: Iterable[str], *, has_keys: bool) -> str:
    """Render the page at `/` of the server.

    Args:
        evidence: What answers rest on.
        has_keys: Whether the server asks for keys; without, nobody enrols.
    """
    asked = (*evidence, PHOTOGRAPH)
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            has_keys=has_keys,
            method=method(asked),
            rates=rates_in_words(asked),
            limits=LIMITS,
            version=__version__,
        )
    )


@cache
def environment() -> jinja2.Environment:
    """Return the templates of report and page; whatever enters them is escaped."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("lineup.report"),
        autoescape=True,  # file names come from whoever sent the images
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["shown"] = shown
    return found


def _inlined(*names: str) -> dict[str, str]:
    """Return files of the package as one text, and the hash that a page's policy allows it by."""
    text = "\n".join((STATIC / name).read_text(encoding="utf-8") for name in names)
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
    return {"text": Markup(text), "policy": f"'sha256-{digest}'"}  # noqa: S704 - files of ours


def _packed(entries: Iterator[dict[str, Any]]) -> Iterator[str]:
    """Yield entries in chunks: base64 of gzipped JSON, in which no text can end a script."""
    chunk: list[dict[str, Any]] = []
    for entry in entries:
        chunk.append(entry)
        if len(chunk) == CHUNK_ROWS:
            yield _packed_chunk(chunk)
            chunk = []
    if chunk:
        yield _packed_chunk(chunk)


def _packed_chunk(chunk: list[dict[str, Any]]) -> str:
    data = json.dumps(chunk, separators=(",", ":"), allow_nan=False).encode()
    return base64.b64encode(gzip.compress(data, mtime=0)).decode("ascii")


def _check_replaceable(output: Path) -> None:
    if not output.is_file():  # nothing there, or a pipe or device, which is written to
        return
    with output.open("rb") as stream:
        start = stream.read(len(PAGE_START))
    if start and start != PAGE_START:
        raise UsageError(
            f"{output} is no page, and is not replaced.", hint="Name another file with --output."
        )


def _places(row: Row, folders: Sequence[Path]) -> list[Path]:
    """Return where the file of a row may be; an absolute path is the same in every folder."""
    return list(dict.fromkeys(folder / (row.path or "") for folder in folders))


def _thumbnail(row: Row, folders: Sequence[Path]) -> str | None:
    """Return a thumbnail's address, provided that the file still is the one that was scanned."""
    for path in _places(row, folders):
        with suppress(ImageError):
            data = bytes_from_path(path)
            if sha256_from_bytes(data) == row.sha256:
                return data_uri(image_from_bytes(data).pixels)
    return None


def _link(row: Row, folders: Sequence[Path], page: Path) -> str | None:
    """Return the address of a row's file as seen from the page's folder, if it is as long as then.

    It is never that of another host or scheme, whatever the path says.
    """
    for path in _places(row, folders):
        with suppress(OSError, ValueError):
            status = path.stat()
            if row.bytes in (None, status.st_size):
                relative = os.path.relpath(path.absolute(), page.absolute())
                return "./" + quote(Path(relative).as_posix().encode("utf-8", "surrogateescape"))
    return None
