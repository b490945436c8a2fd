"""A scan as one self-contained page: counts, thumbnails, posteriors, scores, and what failed."""

from __future__ import annotations

import base64
import collections
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

import cv2
import jinja2

from lineup._version import __version__
from lineup.errors import ImageError, UsageError
from lineup.files import sha256_from_bytes, write_atomic
from lineup.imaging.decode import bytes_from_path, image_from_bytes
from lineup.results import GENERATED, PHOTOGRAPH, UNDETERMINED
from lineup.text import shown

if TYPE_CHECKING:
    from lineup.types import RgbImage

TEMPLATE = "report.html.j2"
PAGE_START = b"<!DOCTYPE html>"
THUMBNAIL_PX = 96
DEFAULT_MAX_ROWS = 500
KINDS: Mapping[str, tuple[type, ...]] = {
    "path": (str, NoneType),
    "sha256": (str, NoneType),
    "verdict": (str, NoneType),
    "posterior": (dict, NoneType),
    "evidence": (dict, NoneType),
    "error": (dict, NoneType),
    "ms": (dict,),
}
"""What a row has, as far as a page needs it."""


def records_from_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a scan, one a path: the last counts, where its first was.

    Half a row at the end is left out: the scan was stopped, or still writes.

    Raises:
        UsageError: The file cannot be read, or a line is not a row; names the line.
    """
    try:
        *lines, rest = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as the rows of a scan: {error}") from error
    if not (rest.startswith("{") and _is_cut(rest)):
        lines.append(rest)
    rows: dict[Any, dict[str, Any]] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            row = _record_from_line(path, number, line)
            rows[number if row["path"] is None else row["path"]] = row
    return list(rows.values())


def write_report(
    records: Sequence[Mapping[str, Any]],
    output: Path,
    *,
    max_rows: int = DEFAULT_MAX_ROWS,
    results: Path | None = None,
    base: Path | None = None,
) -> None:
    """Render rows into one HTML file without external resources.

    Args:
        records: Rows as `lineup scan` wrote them.
        output: The page; replaced in one step.
        max_rows: Rows shown with a thumbnail; the counts always cover all.
        results: The file of the rows, which the page names.
        base: Folder that relative paths count from; None tries this one, then those that `results`
            lies in. What is shown has the row's hash.

    Raises:
        UsageError: `output` is a file that is no page, such as an image or the rows.
    """
    _check_replaceable(output)
    folders = [Path()] if results is None else [Path(), *results.absolute().parents]
    entries = list(_entries(records[:max_rows], folders if base is None else [base]))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lineup", "data"),
        autoescape=True,  # file names come from whoever sent the images
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = shown
    page = environment.get_template(TEMPLATE).render(
        counts=_counts(records),
        total=len(records),
        entries=entries,
        hidden=max(0, len(records) - max_rows),
        without_picture=sum(not one["thumbnail"] and not one["record"]["error"] for one in entries),
        results=None if results is None else str(results),
        explanations={
            GENERATED: "by no source in the gallery",
            UNDETERMINED: "no source stands out",
        },
        nobody=(GENERATED, PHOTOGRAPH),
        version=__version__,
    )
    write_atomic(output, page.encode("utf-8", "backslashreplace"))


def _check_replaceable(output: Path) -> None:
    if not output.is_file():  # nothing there, or a pipe or device, which is written to
        return
    with output.open("rb") as stream:
        start = stream.read(len(PAGE_START))
    if start and start != PAGE_START:
        raise UsageError(
            f"{output} is no page, and is not replaced.", hint="Name another file with --output."
        )


def _record_from_line(path: Path, number: int, line: str) -> dict[str, Any]:
    hint = "A report is made from the JSONL output of `lineup scan --output FILE`."
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}, line {number}: not JSON: {error}", hint=hint) from error
    found = record if isinstance(record, dict) else {}
    missing = [key for key, kinds in KINDS.items() if not isinstance(found.get(key, ()), kinds)]
    if missing:
        raise UsageError(
            f"{path}, line {number}: not a row of a scan; it lacks {', '.join(sorted(missing))}.",
            hint=hint,
        )
    return dict(record)


def _is_cut(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return True
    return False


def _counts(records: Iterable[Mapping[str, Any]]) -> list[tuple[str, int]]:
    labels = (record["verdict"] or "failed" for record in records)
    return collections.Counter(labels).most_common()


def _entries(
    records: Iterable[Mapping[str, Any]], folders: Sequence[Path]
) -> Iterator[dict[str, Any]]:
    """Yield what the page shows of each row: percents of the likeliest, and the stages' sum."""
    for record in records:
        posterior = record["posterior"] or {}
        ranked = sorted(posterior.items(), key=lambda item: -item[1])[:3]
        yield {
            "record": record,
            "thumbnail": None if record["error"] else _thumbnail(record, folders),
            "bars": [(name, 100 * share) for name, share in ranked],
            "cost_ms": sum(value or 0.0 for value in record["ms"].values()),
        }


def _thumbnail(record: Mapping[str, Any], folders: Sequence[Path]) -> str | None:
    """Return a JPEG data URI, provided that the file still is the one that was scanned."""
    if record["path"] is None:
        return None
    # An absolute path is the same in every folder.
    for path in dict.fromkeys(folder / record["path"] for folder in folders):
        with suppress(ImageError):
            data = bytes_from_path(path)
            if sha256_from_bytes(data) == record["sha256"]:
                return _data_uri(image_from_bytes(data).pixels)
    return None


def _data_uri(pixels: RgbImage) -> str:
    scale = THUMBNAIL_PX / max(pixels.shape[:2])
    size = tuple(max(1, round(length * scale)) for length in pixels.shape[1::-1])
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")
