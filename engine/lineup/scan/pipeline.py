"""From paths to rows: reading and decoding in threads overlap the models in this one.

Images are answered in groups: what is in memory at once. A scan that is killed loses the group that
it was at.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from lineup.answering import Answering
from lineup.errors import BackendError, BundleError, ResynthesisError, UsageError
from lineup.look_ahead import Signal
from lineup.options import AttributionOptions
from lineup.query import Query, row_from_image
from lineup.results import FINGERPRINT, Attribution
from lineup.scan.meter import MainStage, ScanMeter
from lineup.stream import ImageReader, StreamedImage, StreamOptions, groups_from_stream

KEY_BYTES = 16

logger = logging.getLogger(__name__)


class Identities:
    """Paths of the rows that an output holds already, each with its content: the last row counts.

    Keeps two 16-byte keys per path, so a million take well below 200 MB.
    """

    def __init__(self) -> None:
        self._contents: dict[bytes, bytes] = {}

    def add(self, path: str, sha256: str | None) -> None:
        """Record a row; `sha256` is None when the file could not be read."""
        self._contents[path_key(path)] = _digest((sha256 or "").encode())

    def forget(self, path: str) -> None:
        """Take a path for one without a row."""
        self._contents.pop(path_key(path), None)

    def holds(self, path: str | Path, sha256: str | None) -> bool:
        """Return whether the image has its row.

        A file that can be read needs a row with the same content: it is scanned again after a
        change. A file that cannot be read is done when it has any row.
        """
        return is_same_content(self.content(str(path)), sha256)

    def content(self, path: str) -> bytes | None:
        """Return what tells the content of a path's row from another; None without a row."""
        return self._contents.get(path_key(path))


def is_same_content(content: bytes | None, sha256: str | None) -> bool:
    """Tell whether a row of `content` (`Identities.content`) holds for a file; see `holds`."""
    return content is not None and (sha256 is None or content == _digest(sha256.encode()))


def scan_rows(
    paths: Iterable[Path],
    engine: Answering,
    question: AttributionOptions,
    options: StreamOptions,
    *,
    done: Identities | None = None,
    meter: ScanMeter | None = None,
) -> Iterator[Attribution]:
    """Attribute many images; yield one row each, in the order of the paths.

    Whatever is wrong with an image is told in its row; the scan goes on. Memory does not grow with
    the number of images (but for 16 bytes per path, to scan a path that is named twice once).
    Stop early by closing the iterator or just leaving it. Arguments and errors are those of
    `lineup.engine.Engine.scan`; `paths` is consumed lazily on a thread of its own.
    """
    meter = meter or ScanMeter(options.worker_count)
    meter.start()
    reader = ImageReader(
        engine.extractor,
        options,
        is_known=(done or Identities()).holds,
        # Fingerprints need tiles alone; what else looks at a query needs all of it.
        keep_pixels=set(engine.evidence_of(question)) != {FINGERPRINT},
        origin=question.origin,
    )
    run = engine.run_id(question)
    with closing(reader.images(unique_paths(paths))) as stream:
        for group in groups_from_stream(_counted(stream, meter), options):
            for row in rows_from_group(group, engine, question, run):
                meter.add_row(row)
                yield row


def rows_from_group(
    group: Sequence[StreamedImage], engine: Answering, question: AttributionOptions, run: str
) -> Iterator[Attribution]:
    """Answer a group and yield its rows, in order."""
    rows = iter(_rows([one for one in group if one.error is None], engine, question, run))
    for image in group:
        yield next(rows) if image.error is None else row_from_image(image, run)


def _rows(
    usable: Sequence[StreamedImage],
    engine: Answering,
    question: AttributionOptions,
    run: str,
) -> list[Attribution]:
    """Answer images together; when that fails, each alone, so that only the culprit fails.

    Raises:
        BackendError: Every one of several failed: the model is at fault, a device that was lost
            say, and error rows would wrongly count these images as done.
    """
    if not usable:
        return []
    queries = [Query.from_stream(image) for image in usable]
    try:
        engine.answer(queries, question)
    except (UsageError, BundleError):  # no image's fault
        raise
    except Exception as error:
        if len(usable) == 1:
            logger.debug("%s failed in a model", usable[0].path, exc_info=True)
            return [row_from_image(usable[0].failed(error), run)]
        logger.debug("a group of %d failed; one by one", len(usable), exc_info=True)
        rows = [row for image in usable for row in _rows([image], engine, question, run)]
        # A command or picture of somebody else is to blame for its rows alone.
        if all(row.error is not None for row in rows) and not isinstance(error, ResynthesisError):
            raise BackendError(
                f"A model failed on {len(usable)} images in a row: {error}",
                hint="Rows so far are complete; mend the cause, then use --resume.",
            ) from error
        return rows
    return [query.attribution(image, run) for image, query in zip(usable, queries, strict=True)]


def _counted(
    stream: Iterator[StreamedImage | Signal], meter: ScanMeter
) -> Iterator[StreamedImage | Signal]:
    """Pass the stream through; count skipped images and the time spent waiting for the next."""
    while True:
        with meter.timed(MainStage.WAIT):
            item = next(stream, None)
        if item is None:
            return
        if item is Signal.SKIPPED:
            meter.add_skipped()
        yield item


def unique_paths(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield every path once, at its first position, however it is spelled.

    Spellings are compared as absolute paths without following links: two links to one file are two
    paths. Keeps 16 bytes per path.
    """
    seen: set[bytes] = set()
    for path in paths:
        key = _digest(os.fsencode(os.path.abspath(path)))  # noqa: PTH100 - keeps no ".."
        if key not in seen:
            seen.add(key)
            yield path


def path_key(path: str) -> bytes:
    """Return what tells paths apart, however they are spelled."""
    # A CSV names bytes that are not UTF-8 by backslash escapes, so keys do the same.
    return _digest(os.path.abspath(path).encode("utf-8", "backslashreplace"))  # noqa: PTH100


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=KEY_BYTES).digest()
