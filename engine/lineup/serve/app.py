"""The HTTP interface: routes over one engine; `app_from_engine` makes the app."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from lineup import errors
from lineup._version import __version__
from lineup.engine import Engine
from lineup.errors import (
    GalleryError,
    ImageError,
    ImageTooLargeError,
    LineupError,
    SourceNotFoundError,
    UnsupportedImageError,
    UsageError,
)
from lineup.gallery.enroll import EnrollOptions, EnrollReport
from lineup.gallery.gallery import Gallery
from lineup.gallery.support import SourceRole
from lineup.imaging.header import DecodeLimits
from lineup.options import DEFAULT_OPTIONS, AttributionOptions
from lineup.reading import read_image
from lineup.report.entries import entry_from_attribution
from lineup.report.page import STATIC, server_page
from lineup.results import FINGERPRINT, GENERATED, UNDETERMINED, Attribution, Verification
from lineup.serve.clock import Clock
from lineup.serve.guard import Guard, Metrics, json_answer, refusal
from lineup.serve.keys import KeyFile
from lineup.serve.openapi import described_routes
from lineup.serve.uploads import MOST_FILES, Form, Room, form_from_request
from lineup.serve.worker import BusyError, EngineWorker
from lineup.stream import FileInMemory, StreamOptions

STALL_SECONDS = 0.002
"""A group is answered when nothing more comes within this."""

ROOM_BODIES = 4
"""Bodies of the largest size that may be in memory together."""

ENROLLED_TOGETHER = 4
"""Images after which an enrolment lets others ask."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Limits of the server.

    Attributes:
        max_body_bytes: Of one request.
        max_pixels: Of one image; told from its header, before anything is decoded.
        queue_images: Images that wait for an answer, at most.
        deadline_seconds: From a request's headers to its answer.
        is_local: See `Guard`.
    """

    max_body_bytes: int = 64 * 2**20
    max_pixels: int = 64_000_000
    queue_images: int = 64
    deadline_seconds: float = 60.0
    is_local: bool = False

    @property
    def limits(self) -> DecodeLimits:
        """What the decoders refuse."""
        return DecodeLimits(self.max_pixels, self.max_body_bytes)


def app_from_engine(
    open_engine: Callable[[], Engine],
    question: AttributionOptions = DEFAULT_OPTIONS,
    reading: StreamOptions | None = None,
    options: ServeOptions = ServeOptions(),
    keys: KeyFile | None = None,
    on_end: Callable[[Exception | None], None] = lambda failure: None,
) -> Starlette:
    """Return the app; the engine is opened when it starts and closed when it ends.

    Args:
        open_engine: Opens the engine, on a thread; until then `/readyz` says 503.
        question: What is asked about every image.
        reading: How images are grouped.
        options: Limits.
        keys: Who may ask, and enrol; None is everybody who reaches the server, and nobody enrols.
        on_end: Called when the engine is gone, with what went wrong if it failed.
    """
    service = Service(open_engine, question, reading or StreamOptions(), options, on_end)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        service.worker.start()
        yield
        await asyncio.to_thread(service.worker.close)

    async def index(request: Request) -> Response:
        return HTMLResponse(server_page(service.evidence(), has_keys=keys is not None))

    return Starlette(
        routes=[
            Route("/v1/attribute", service.attribute, methods=["POST"]),
            Route("/v1/verify", service.verify, methods=["POST"]),
            Route("/v1/sources", service.sources, methods=["GET"]),
            Route("/v1/sources/{name}", service.enroll, methods=["POST"]),
            Route("/healthz", service.healthz, methods=["GET"]),
            Route("/readyz", service.readyz, methods=["GET"]),
            Route("/metrics", service.show_metrics, methods=["GET"]),
            *described_routes(),
            Route("/", index, methods=["GET"]),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[
            Middleware(
                Guard, metrics=service.metrics, keys=keys, is_local=options.is_local and not keys
            )
        ],
        exception_handlers={HTTPException: service.refuse, LineupError: service.refuse},
        lifespan=lifespan,
    )


class Service:
    """The routes; arguments as of `app_from_engine`."""

    def __init__(
        self,
        open_engine: Callable[[], Engine],
        question: AttributionOptions,
        reading: StreamOptions,
        options: ServeOptions,
        on_end: Callable[[Exception | None], None],
    ) -> None:
        self.metrics = Metrics()
        self.worker = EngineWorker(
            open_engine,
            question,
            replace(reading, limits=options.limits, stall_seconds=STALL_SECONDS),
            options.queue_images,
            on_group=self.metrics.group.observe,
            on_end=on_end,
        )
        self.metrics.gauge(
            "lineup_waiting_images", "Images without an answer.", lambda: self.worker.waiting_images
        )
        self.metrics.gauge(
            "lineup_ready", "1 when models are loaded.", lambda: self.worker.engine is not None
        )
        self._question = question
        self._options = options
        self._room = Room(options.max_body_bytes, ROOM_BODIES * options.max_body_bytes)

    async def attribute(self, request: Request) -> Response:
        """Answer images with rows."""
        async with self._asked(request) as (form, clock):
            jobs = self.worker.rows([(one.name, one.data) for one in form.files])
            rows = await clock.answers(jobs, request.receive())
        for row in rows:
            self.metrics.images.labels(_outcome(row)).inc()
        is_page = request.query_params.get("view") == "entry"
        records = [entry_from_attribution(row) if is_page else row.to_dict() for row in rows]
        is_answered = any(row.verdict is not None for row in rows)
        status = 200 if is_answered or is_page else _status_of_row(rows[0])
        return json_answer({"rows": records} if form.is_multipart else records[0], status)

    def evidence(self) -> tuple[str, ...]:
        """Return what answers rest on; the fingerprint alone until models are loaded."""
        engine = self.worker.engine
        return (FINGERPRINT,) if engine is None else engine.evidence_of(self._question)

    async def verify(self, request: Request) -> Response:
        """Test whether a source made an image."""
        engine = self._engine()
        async with self._asked(request) as (form, clock):
            source = request.query_params.get("source") or form.fields.get("source")
            if not source or len(form.files) > 1:
                raise HTTPException(400, "Expected one image, and source=NAME in query or form.")
            upload = form.files[0]

            def verify() -> Verification:
                image = read_image(upload.data, limits=self._options.limits)
                engine.follow_gallery()
                return engine.verify(image, source)

            (answer,) = await clock.answers([self.worker.call(verify)], request.receive())
        return json_answer({"path": upload.name, **answer.to_dict()})

    async def sources(self, request: Request) -> Response:
        """List the gallery."""
        engine = self._engine()

        def read() -> Gallery:
            engine.follow_gallery()
            return engine.gallery

        gallery = await asyncio.to_thread(read)
        found = [
            {
                "name": one.name,
                "role": one.role.value,
                "images": len(one),
                "channels": list(one.channels),
                "provenance": one.provenance,
            }
            for one in gallery.sources.values()
        ]
        return json_answer({"sources": found})

    async def enroll(self, request: Request) -> Response:
        """Add images to a source, by a key that may."""
        key = getattr(request.state, "key", None)
        if key is None or not key.may_enroll:
            raise HTTPException(403, "Enrolment needs a key that may enrol.")
        engine = self._engine()
        name = request.path_params["name"]
        async with self._asked(request) as (form, clock):
            options = _enroll_options(form, self._options.limits)
            reports: list[EnrollReport] = []
            files = [FileInMemory(Path(one.name or "image"), one.data) for one in form.files]
            for start in range(0, len(files), ENROLLED_TOGETHER):
                part = files[start : start + ENROLLED_TOGETHER]
                call = self.worker.call(partial(engine.enroll, name, part, options=options))
                reports += await clock.answers([call], request.receive())
        failed = [
            {"path": one.path.name, "message": one.message}
            for report in reports
            for one in report.failed
        ]
        added, present = (sum(getattr(one, key) for one in reports) for key in ("added", "present"))
        record = {"name": name, "added": added, "present": present, "failed": failed}
        status = 200 if added + present else 422
        return json_answer({**record, "total": reports[-1].total}, status)

    async def healthz(self, request: Request) -> Response:
        """Say that the process answers."""
        return json_answer({"status": "ok", "lineup": __version__})

    async def readyz(self, request: Request) -> Response:
        """Say whether images are answered."""
        self._engine()
        return json_answer({"status": "ready"})

    async def show_metrics(self, request: Request) -> Response:
        """Show counters in the text format of Prometheus."""
        return Response(generate_latest(self.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def refuse(self, request: Request, error: Exception) -> Response:
        """Answer with an error."""
        headers: dict[str, str] = {}
        if isinstance(error, HTTPException):
            status, text, kind = error.status_code, error.detail, None
            headers |= error.headers or {}
        else:
            assert isinstance(error, LineupError)
            status, text, kind = _status_of_error(type(error)), error.one_line, type(error).__name__
        if status in (429, 503):
            headers["retry-after"] = str(min(max(1, math.ceil(self.worker.waiting_seconds)), 60))
        return refusal(status, text, kind, headers)

    @asynccontextmanager
    async def _asked(self, request: Request) -> AsyncIterator[tuple[Form, Clock]]:
        """Yield what was sent; its bytes count as held until the block ends."""
        self._engine()
        clock = Clock(self._options.deadline_seconds)
        with self._room.share() as share:
            files = min(MOST_FILES, self._options.queue_images)
            form = await clock.body(form_from_request(request, share, files))
            request.state.facts |= {"bytes": share.size, "files": len(form.files)}
            yield form, clock

    def _engine(self) -> Engine:
        engine = self.worker.engine
        if engine is None:
            failed = self.worker.failure is not None
            raise HTTPException(503, "The engine failed." if failed else "Models are loading.")
        return engine


def _outcome(row: Attribution) -> str:
    if row.verdict is None:
        return "failed"
    label = row.verdict.label
    return label if label in (GENERATED, UNDETERMINED) else "named"


STATUS_OF_ERROR: tuple[tuple[type[LineupError], int], ...] = (
    (BusyError, 429),
    (ImageTooLargeError, 413),
    (UnsupportedImageError, 415),
    (ImageError, 422),
    (SourceNotFoundError, 404),
    (UsageError, 400),
    (GalleryError, 409),
    (LineupError, 503),
)


def _status_of_error(kind: type) -> int:
    return next((status for error, status in STATUS_OF_ERROR if issubclass(kind, error)), 500)


def _status_of_row(row: Attribution) -> int:
    assert row.error is not None
    return _status_of_error(getattr(errors, row.error.type, Exception))


def _enroll_options(form: Form, limits: DecodeLimits) -> EnrollOptions:
    role = form.fields.get("role")
    if role not in (None, *(one.value for one in SourceRole)):
        raise HTTPException(400, f"The role is {role!r}; expected candidate or real.")
    return EnrollOptions(
        role=None if role is None else SourceRole(role),
        provenance=form.fields.get("provenance", ""),
        limits=limits,
    )
