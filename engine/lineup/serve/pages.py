"""The page at `/` and what it loads, all from the package."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

STATIC = Path(__file__).parent / "static"


def page_routes() -> list[BaseRoute]:
    """Return `/` and `/static`."""
    files = StaticFiles(directory=STATIC, check_dir=False)
    return [Route("/", _index, methods=["GET"]), Mount("/static", files)]


async def _index(request: Request) -> Response:
    return HTMLResponse("<!doctype html><title>lineup</title><p>lineup answers at /v1/attribute.")
