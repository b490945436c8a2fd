"""The process around the app: uvicorn with limits on connections, logs as JSON lines, draining."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from lineup.errors import LineupError

if TYPE_CHECKING:
    from starlette.applications import Starlette

HEADER_SECONDS = 10.0
"""In which a request's headers have to come."""

GRACE_SECONDS = 10.0
"""After a request's deadline, for the client to take the answer."""

MOST_CONNECTIONS = 512
"""One more is answered 503: below the 1,024 files that a process may usually have open."""

MOST_HEADER_BYTES = 32 * 1024


class TimedProtocol(H11Protocol):
    """HTTP/1.1 whose connections end when a request or the taking of its answer is late.

    uvicorn itself waits for ever for headers, and for a client that does not read.
    """

    answer_seconds = 60.0 + GRACE_SECONDS
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for headers."""
        super().connection_made(transport)
        self._end_after(HEADER_SECONDS)

    def handle_events(self) -> None:
        """Begin to wait for the end of a request whose headers came."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before and not self.cycle.response_complete:
            self._end_after(self.answer_seconds)

    def on_response_complete(self) -> None:
        """Begin to wait for the next request's headers."""
        self._end_after(HEADER_SECONDS)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing."""
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()

    def _end_after(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self.transport.abort)


class JsonLines(logging.Formatter):
    """One JSON object a line; tracebacks in it, so that a line stays a record."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_to_stderr() -> None:
    """Write the logs of lineup and uvicorn to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("lineup", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(logging.INFO)


class Server(uvicorn.Server):
    """Serves until SIGTERM, Ctrl-C or `stop`; then answers what it has taken.

    Args:
        host: Address to listen at.
        port: Port; 0 takes a free one.
        deadline_seconds: Of a request.
    """

    def __init__(self, host: str, port: int, deadline_seconds: float) -> None:
        answer_seconds = deadline_seconds + GRACE_SECONDS
        protocol = type("Protocol", (TimedProtocol,), {"answer_seconds": answer_seconds})
        super().__init__(
            uvicorn.Config(
                "",  # given to `serve_app`
                host=host,
                port=port,
                http=protocol,
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=MOST_CONNECTIONS,
                h11_max_incomplete_event_size=MOST_HEADER_BYTES,
                timeout_graceful_shutdown=math.ceil(answer_seconds),
            )
        )
        self._failure: Exception | None = None

    def serve_app(self, app: Starlette) -> None:
        """Serve.

        Raises:
            LineupError: Nothing can listen there.
            Exception: What `stop` was told.
        """
        self.config.app = app
        try:
            with _signals_that_end():
                self.run()
        except SystemExit:  # uvicorn's, which has logged why
            raise LineupError(
                f"Nothing can listen at {self.config.host}, port {self.config.port}.",
                hint="Is another server there? Choose another --port; the log says more.",
            ) from None
        if self._failure is not None:
            raise self._failure

    def stop(self, failure: Exception | None = None) -> None:
        """Begin to drain."""
        self._failure = failure
        self.should_exit = True


@contextmanager
def _signals_that_end() -> Iterator[None]:
    """Take SIGINT and SIGTERM for a normal end: uvicorn raises them again when it has drained."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: None) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
