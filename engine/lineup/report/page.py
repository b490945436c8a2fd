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
from typing import Any, NamedTuple
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from lineup._version import __version__
from lineup.errors import ImageError, UsageError
from lineup.files import sha256_from_bytes, write_atomic
from lineup.gallery.opening import SourceEntry
from lineup.imaging.decode import bytes_from_path, image_from_bytes
from lineup.report.about import LIMITS, method, rates_in_words
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
        rows: The rows, taken one by one; the last of a path counts.
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
    entries: dict[object, _Packable] = {}
    for row in rows:
        picture = None
        if row.path is not None and row.error is None:
            if not embed:
                picture = _link(row, folders, output.parent)
            elif len(entries) < MOST_EMBEDDED:
                picture = _thumbnail(row, folders)
        # The last row of a path counts, where its first stands.
        key = len(entries) if row.path is None else row.path
        entries[key] = _packable(row, entry_from_row(row, picture))
    counts = collections.Counter(one.label for one in entries.values())
    evidence = dict.fromkeys(name for one in entries.values() for name in one.evidence)
    page = environment().get_template("report.html.j2")
    parts = page.generate(
        counts=counts.most_common(),
        total=counts.total(),
        versions=sorted({one.version for one in entries.values()}),
        embedded=min(MOST_EMBEDDED, counts.total()) if embed else 0,
        chunks=_chunks([one.text for one in entries.values()]),
        method=method(evidence),
        rates=rates_in_words(evidence),
        limits=LIMITS,
        sources=sources,
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


class _Packable(NamedTuple):
    """An entry as JSON, and what the page says of all of them."""

    text: str
    label: str
    evidence: tuple[str, ...]
    version: str


def _packable(row: Row, entry: dict[str, Any]) -> _Packable:
    text = json.dumps(entry, separators=(",", ":"), allow_nan=False)
    version = f"{row.lineup or 'unknown'}, run {row.run or 'unknown'}"
    return _Packable(text, entry["label"], tuple(row.evidence or ()), version)


def _chunks(texts: Sequence[str]) -> Iterator[str]:
    """Yield entries in chunks: base64 of gzipped JSON, in which no text can end a script."""
    for start in range(0, len(texts), CHUNK_ROWS):
        data = f"[{','.join(texts[start : start + CHUNK_ROWS])}]".encode()
        yield base64.b64encode(gzip.compress(data, mtime=0)).decode("ascii")


def _check_replaceable(output: Path) -> None:
    if not output.is_file():  # nothing there, or a pipe or device, which is written to
        return
    with output.open("rb") as stream:
        start = stream.read(len(PAGE_START))
    if start and start != PAGE_START:
        raise UsageError(
            f"{output} is no page, and is not replaced.", hint="Name another file with --output."
        )


def _places(row: Row, folders: Sequence[Path]) -> list[str]:
    """Return where the file of a row may be; an absolute path is the same in every folder."""
    return list(dict.fromkeys(os.path.join(folder, row.path or "") for folder in folders))  # noqa: PTH118


def _thumbnail(row: Row, folders: Sequence[Path]) -> str | None:
    """Return a thumbnail's address, provided that the file still is the one that was scanned."""
    for path in _places(row, folders):
        with suppress(ImageError):
            data = bytes_from_path(Path(path))
            if sha256_from_bytes(data) == row.sha256:
                return data_uri(image_from_bytes(data).pixels)
    return None


def _link(row: Row, folders: Sequence[Path], page: Path) -> str | None:
    """Return the address of a row's file as seen from the page's folder, if it is as long as then.

    It is never that of another host or scheme, whatever the path says.
    """
    for path in _places(row, folders):
        with suppress(OSError, ValueError):
            status = os.stat(path)  # noqa: PTH116 - of strings: there may be many
            if row.bytes in (None, status.st_size):
                relative = os.path.relpath(path, page)
                return "./" + quote(Path(relative).as_posix().encode("utf-8", "surrogateescape"))
    return None
