"""What every request passes: its host and key, its log line and metrics, and no traceback."""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from lineup._version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from lineup.serve.keys import KeyFile

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
ROUTES = (
    "/",
    "/v1/attribute",
    "/v1/verify",
    "/v1/sources",
    "/healthz",
    "/readyz",
    "/metrics",
    "/docs",
    "/openapi.json",
)
KEYED = ("/v1/", "/metrics")
CLIENT_GONE = 499
"""In logs and metrics alone: the client went before its answer was there, as nginx says it."""

SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
)

logger = logging.getLogger("lineup.serve")


class Metrics:
    """What `/metrics` shows; one per app."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "lineup_requests", "Requests.", ("route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "lineup_request_seconds", "From headers to answer.", ("route",), registry=self.registry
        )
        self.images = Counter("lineup_images", "Rows.", ("outcome",), registry=self.registry)
        self.group = Histogram(
            "lineup_group_images",
            "Images answered together.",
            buckets=(1, 2, 4, 8, 16),
            registry=self.registry,
        )
        Gauge("lineup_info", "Version.", ("version",), registry=self.registry).labels(
            __version__
        ).set(1)

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Show a value as it is when somebody looks."""
        Gauge(name, text, registry=self.registry).set_function(value)


def json_answer(
    record: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return an answer of one line of ASCII, as rows are written."""
    line = json.dumps(record, allow_nan=False).encode("ascii") + b"\n"
    return Response(line, status, headers, media_type="application/json")


def refusal(
    status: int, message: str, kind: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Return an answer that is an error: `{"error": {"type", "message"}}`, as in a row."""
    kind = kind or ("RequestError" if status < 500 else "ServerError")
    return json_answer({"error": {"type": kind, "message": message}}, status, headers)


class Guard:
    """ASGI middleware around the whole app.

    Args:
        app: What answers.
        metrics: Counts.
        keys: Who may ask; None is everybody who reaches the server.
        is_local: Whether requests must name this machine as their host, and come from no page of
            another site: such pages could otherwise ask through a browser here.
    """

    def __init__(
        self, app: ASGIApp, metrics: Metrics, keys: KeyFile | None, is_local: bool
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._keys = keys
        self._is_local = is_local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        number = secrets.token_hex(8)
        status = CLIENT_GONE

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = [(b"x-request-id", number.encode())]
                have = {name for name, _ in message["headers"]}
                own += [one for one in SAFE_HEADERS if one[0] not in have]
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        facts: dict[str, Any] = scope.setdefault("state", {}).setdefault("facts", {})
        try:
            answer = self._refusal(scope) or self._app
            await answer(scope, receive, send_noted)
        except ClientDisconnect:
            pass
        except Exception:
            logger.exception("request %s failed", number)
            if status == CLIENT_GONE:
                text = f"The server failed at this request; its log says why, at {number}."
                await refusal(500, text)(scope, receive, send_noted)
        finally:
            seconds = time.perf_counter() - start
            route = _route(scope["path"])
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(seconds)
            known = {"id": number, "method": scope["method"], "route": route, "status": status}
            record = {**known, "ms": round(seconds * 1e3, 1), **facts}
            logger.info("request", extra={"facts": record})

    def _refusal(self, scope: Scope) -> Response | None:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if self._is_local and name not in LOOPBACK_NAMES:
            return refusal(
                421, "This server answers to localhost alone; start it with --host for another."
            )
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        if self._is_local and origin and origin.rpartition("/")[2] != host:
            return refusal(403, f"Pages of {origin[:80]} may not ask this server.")
        if self._keys is None or not scope["path"].startswith(KEYED):
            return None
        kind, _, token = headers.get(b"authorization", b"").partition(b" ")
        key = self._keys.key_of(token.strip()) if kind.lower() == b"bearer" else None
        if key is None:
            return refusal(
                401,
                "A key is needed: send the header 'Authorization: Bearer KEY'.",
                headers={"www-authenticate": "Bearer"},
            )
        scope["state"]["key"] = key
        scope["state"]["facts"]["key"] = key.name
        return None


def _route(path: str) -> str:
    if path.startswith("/v1/sources/"):
        return "/v1/sources/NAME"
    return path if path in ROUTES else "other"
