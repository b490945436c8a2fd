"""From what was sent to rows: one engine, one stream, groups as they come, as a scan makes them."""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from lineup.engine import Engine
from lineup.errors import BackendError, LineupError
from lineup.options import AttributionOptions
from lineup.results import RESYNTHESIS_EVIDENCE, Attribution
from lineup.scan.pipeline import rows_from_group
from lineup.stream import (
    FileInMemory,
    ImageReader,
    StreamedImage,
    StreamOptions,
    groups_from_stream,
)

Answer = TypeVar("Answer")

MOST_CALLS = 8
"""Verifications and enrolments that wait, at most."""

logger = logging.getLogger(__name__)


class BusyError(LineupError):
    """As much waits for the engine as may; it was not taken."""


@dataclass(eq=False, slots=True)
class _Job:
    """An image that waits for its row."""

    path: Path
    name: str | None
    data: bytes
    row: Future[Attribution] = field(default_factory=Future)


class EngineWorker:
    """Owns an engine, opens it on a thread of its own, and answers there.

    Args:
        open_engine: Opens the engine.
        question: What is asked about every image.
        reading: How images are read and grouped.
        most_images: Images that wait for their rows, at most.
        on_group: Called with the number of images of each group.
        on_end: Called when no more can be answered, with what went wrong.

    Attributes:
        engine: Where it is open; None before, and when it could not be opened.
        failure: Why it could not be opened or went wrong.
    """

    def __init__(
        self,
        open_engine: Callable[[], Engine],
        question: AttributionOptions,
        reading: StreamOptions,
        most_images: int,
        *,
        on_group: Callable[[int], None],
        on_end: Callable[[Exception | None], None],
    ) -> None:
        self.engine: Engine | None = None
        self.failure: Exception | None = None
        self._open_engine = open_engine
        self._question = question
        self._reading = reading
        self._most_images = most_images
        self._on_group = on_group
        self._on_end = on_end
        self._numbers = itertools.count()
        self._jobs: dict[Path, _Job] = {}
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._image_seconds = 0.1
        self._calls = 0
        self._caller = ThreadPoolExecutor(1, thread_name_prefix="lineup-call")
        self._thread = threading.Thread(target=self._run, name="lineup-answer")

    @property
    def waiting_images(self) -> int:
        """Images without their rows."""
        return len(self._jobs)

    @property
    def waiting_seconds(self) -> float:
        """How long what waits is likely to take."""
        return self._image_seconds * len(self._jobs)

    def start(self) -> None:
        """Open the engine, on its thread."""
        self._thread.start()

    def close(self) -> None:
        """Answer what waits, and release the engine."""
        self._caller.shutdown(wait=True)
        self._queue.put(None)
        if self._thread.ident is not None:
            self._thread.join()

    def rows(self, files: Sequence[tuple[str | None, bytes]]) -> list[Future[Attribution]]:
        """Ask for the row of each file, given its name and bytes; cancel what nobody wants.

        Called on one thread.

        Raises:
            BusyError: Not all of them can wait.
        """
        if len(self._jobs) + len(files) > self._most_images:
            raise BusyError(f"{len(self._jobs)} images wait already.")
        jobs = [_Job(Path(str(next(self._numbers))), *file) for file in files]
        for job in jobs:
            self._jobs[job.path] = job
            self._queue.put(job)
        return [job.row for job in jobs]

    def call(self, function: Callable[[], Answer]) -> Future[Answer]:
        """Run what else the engine does, one after the other.

        Raises:
            BusyError: Too many wait.
        """
        if self._calls >= MOST_CALLS:
            raise BusyError(f"{self._calls} verifications and enrolments wait already.")
        self._calls += 1
        future = self._caller.submit(function)
        future.add_done_callback(self._count_call_out)
        return future

    def _count_call_out(self, _: Future[Any]) -> None:
        self._calls -= 1

    def _run(self) -> None:
        try:
            with self._open_engine() as engine:
                engine.run_id(self._question)  # opens whatever the question needs
                engine.attribute(np.full((256, 256, 3), 128, np.uint8), options=_cheap(engine))
                self.engine = engine
                self._answer(engine)
        except Exception as error:
            self.failure = error
            logger.error("the engine ended: %s", error, exc_info=not isinstance(error, LineupError))
        finally:
            self.engine = None
            for job in list(self._jobs.values()):
                if not job.row.done():
                    job.row.set_exception(BackendError("The engine ended before its answer."))
            self._on_end(self.failure)

    def _answer(self, engine: Engine) -> None:
        # Whole, because an enrolment may bring evidence that looks at all of an image.
        reader = ImageReader(
            engine.extractor, self._reading, keep_pixels=True, origin=self._question.origin
        )
        with closing(reader.images(self._files())) as stream:
            for group in groups_from_stream(stream, self._reading):
                self._answer_group(engine, group)

    def _files(self) -> Iterator[FileInMemory]:
        while (job := self._queue.get()) is not None:
            data, job.data = job.data, b""
            if job.row.cancelled():
                del self._jobs[job.path]
            else:
                yield FileInMemory(job.path, data)

    def _answer_group(self, engine: Engine, group: Sequence[StreamedImage]) -> None:
        jobs = [self._jobs[image.path] for image in group]
        asked = [job.row.set_running_or_notify_cancel() for job in jobs]
        wanted = [image for image, wants in zip(group, asked, strict=True) if wants]
        start = time.perf_counter()
        rows: Iterator[Attribution | Exception]
        try:
            with engine.working():  # an enrolment in between would ask another question
                engine.follow_gallery()
                run = engine.run_id(self._question)
                rows = iter(list(rows_from_group(wanted, engine, self._question, run)))
        except Exception as error:
            rows = itertools.repeat(error)
        if wanted:
            self._on_group(len(wanted))
            image_seconds = (time.perf_counter() - start) / len(wanted)
            self._image_seconds += 0.1 * (image_seconds - self._image_seconds)
        for job, wants in zip(jobs, asked, strict=True):
            del self._jobs[job.path]
            if wants:
                row = next(rows)
                if isinstance(row, Exception):
                    job.row.set_exception(row)
                else:
                    job.row.set_result(replace(row, path=job.name))


def _cheap(engine: Engine) -> AttributionOptions:
    """Return a question that every model but those of resyntheses runs for."""
    names = tuple(name for name in engine.evidence if name not in RESYNTHESIS_EVIDENCE)
    return AttributionOptions(evidence=names)
