"""The page at `/` and what it loads, all from the package."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from lineup.report.page import STATIC, server_page


def page_routes(evidence: Callable[[], Iterable[str]], *, has_keys: bool) -> list[BaseRoute]:
    """Return `/` and `/static`.

    Args:
        evidence: What answers rest on.
        has_keys: Whether the server asks for keys; without, nobody enrols.
    """

    async def index(request: Request) -> Response:
        return HTMLResponse(server_page(evidence(), has_keys=has_keys))

    return [Route("/", index, methods=["GET"]), Mount("/static", StaticFiles(directory=STATIC))]
