"""The interface in words: `/openapi.json`, and `/docs`, a page that loads nothing from outside."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from lineup._version import __version__
from lineup.paths import shipped_dir
from lineup.report.page import environment
from lineup.serve.uploads import MOST_FILES

IMAGE_BODY = {
    "description": f"The bytes of one image; or a form with 1 to {MOST_FILES} files (parts with a "
    "file name, whatever the field is called).",
    "required": True,
    "content": {
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {
                    "file": {"type": "array", "items": {"type": "string", "format": "binary"}}
                },
            }
        },
    },
}

REFUSALS = {
    "400": "The request is malformed.",
    "401": "A key is needed.",
    "403": "This key, or this page, may not.",
    "404": "There is no such source.",
    "408": "The body did not come in time.",
    "409": "The gallery does not take it.",
    "413": "Too many bytes, pixels or files.",
    "415": "It is no image that is decoded here: its first bytes say so.",
    "422": "The image is damaged.",
    "429": "Too much waits already; Retry-After says when to come again.",
    "503": "Models are loading, or failed.",
    "504": "There was no answer in time.",
}

TEXT = {"type": "string"}
ROW = {"$ref": "#/components/schemas/Row"}
ROWS = {"type": "object", "properties": {"rows": {"type": "array", "items": ROW}}}


@cache
def openapi() -> dict[str, Any]:
    """Return the description of the interface (OpenAPI 3.1)."""
    schema = json.loads((shipped_dir() / "row.schema.json").read_text(encoding="utf-8"))
    error = {"type": "object", "properties": {"type": TEXT, "message": TEXT}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "lineup",
            "version": __version__,
            "description": "Tells which AI generator made an image. An error is "
            '{"error": {"type", "message"}}, which a row with an error has too.',
        },
        "paths": {
            "/v1/attribute": {
                "post": _operation(
                    "Tell which source made each image.",
                    "Of a body that is an image its row, of a form {rows} in the order of the "
                    "files. The status is 200 where any has a verdict, else that of the first "
                    "error (413, 415, 422).",
                    {"oneOf": [ROW, ROWS]},
                    ("400", "401", "408", "413", "415", "422", "429", "503", "504"),
                    body=IMAGE_BODY,
                )
            },
            "/v1/verify": {
                "post": _operation(
                    "Test whether one source made an image.",
                    "The record that lineup verify --json prints.",
                    {"type": "object"},
                    ("400", "401", "404", "408", "413", "415", "422", "429", "503", "504"),
                    body=IMAGE_BODY,
                    parameters=[_parameter("source", "query", "A source; or a field of the form.")],
                )
            },
            "/v1/sources": {
                "get": _operation(
                    "List the sources of the gallery.",
                    "Name, role, number of images, channels, provenance.",
                    {"type": "object"},
                    ("401", "503"),
                )
            },
            "/v1/sources/{name}": {
                "post": _operation(
                    "Add images of a source to the gallery, by a key that may.",
                    "How many were added, present already, failed (and why), and are there now. "
                    "Fields role (candidate, real) and provenance.",
                    {"type": "object"},
                    ("400", "401", "403", "408", "409", "413", "422", "429", "503", "504"),
                    body=IMAGE_BODY,
                    parameters=[_parameter("name", "path", "The source; need not exist yet.")],
                )
            },
            "/healthz": {"get": _operation("Say that the process answers.", "Yes.", {}, ())},
            "/readyz": {"get": _operation("Say whether models are loaded.", "Yes.", {}, ("503",))},
            "/metrics": {
                "get": _operation("Counters, as Prometheus reads them.", "Text.", {}, ("401",))
            },
        },
        "components": {
            "schemas": {
                "Row": schema,
                "Error": {"type": "object", "properties": {"error": error}},
            },
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def described_routes() -> list[BaseRoute]:
    """Return `/openapi.json` and `/docs`."""
    return [
        Route("/openapi.json", _show_json, methods=["GET"]),
        Route("/docs", _show_page, methods=["GET"]),
    ]


async def _show_json(request: Request) -> Response:
    return JSONResponse(openapi())


async def _show_page(request: Request) -> Response:
    return HTMLResponse(environment().get_template("api.html.j2").render(api=openapi()))


def _operation(
    summary: str,
    answer: str,
    schema: dict[str, Any],
    refusals: tuple[str, ...],
    *,
    body: dict[str, Any] | None = None,
    parameters: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    responses = {"200": {"description": answer, "content": content}}
    responses |= {code: {"description": REFUSALS[code], "content": error} for code in refusals}
    operation: dict[str, Any] = {"summary": summary, "responses": responses}
    if "401" in refusals:
        operation["security"] = [{}, {"key": []}]
    if body is not None:
        operation["requestBody"] = body
    if parameters is not None:
        operation["parameters"] = parameters
    return operation


def _parameter(name: str, place: str, text: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": place,
        "description": text,
        "schema": TEXT,
        "required": place == "path",
    }
