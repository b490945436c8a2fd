"""Checking a file against its published schema, with messages that name the field."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineup.errors import BundleFormatError

if TYPE_CHECKING:
    from jsonschema import ValidationError

SCHEMA_PATH = Path(__file__).with_name("manifest.schema.json")

SHOWN_VALUE_CHARACTERS = 80
"""A wrong value is quoted up to this length."""

_TYPE_WORDS = {
    "object": "an object",
    "array": "an array",
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


@cache
def manifest_schema() -> Mapping[str, Any]:
    """Return the JSON Schema (draft 2020-12) of manifest.json."""
    schema: Mapping[str, Any] = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
    return schema


def check_schema(raw: Mapping[str, Any], where: str) -> None:
    """Refuse a manifest that breaks the schema.

    Args:
        raw: The parsed JSON.
        where: File to name in the error.

    Raises:
        BundleFormatError: Names the file, the field, what was expected and what was found.
    """
    problem = schema_problem(raw, manifest_schema())
    if problem is not None:
        raise BundleFormatError(
            f"{where}: {problem}",
            hint="The bundle was written wrongly or edited by hand; export it again.",
        )


def schema_problem(raw: Mapping[str, Any], schema: Mapping[str, Any]) -> str | None:
    """Return what is wrong with parsed JSON or TOML, after the name of the field; None if nothing.

    Args:
        raw: The parsed file.
        schema: A JSON Schema, draft 2020-12.
    """
    # Takes a tenth of a second to import, and only opening a bundle or a lineup needs it.
    from jsonschema import Draft202012Validator  # noqa: PLC0415
    from jsonschema.exceptions import best_match  # noqa: PLC0415

    error = best_match(Draft202012Validator(schema).iter_errors(raw))
    return None if error is None else ": ".join(_explain(error))


def field_name(parts: Iterable[str | int]) -> str:
    """Return the readable JSON path of a field, e.g. "graphs.fingerprint.outputs[0].dtype"."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".") or "manifest"


def _explain(error: ValidationError) -> tuple[str, str]:
    """Return the field that is wrong, and what is wrong with it."""
    path, value, rule = list(error.absolute_path), error.instance, error.validator_value
    if error.validator == "required":
        missing = next(name for name in rule if name not in value)
        return field_name([*path, missing]), "missing, but required"
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        unknown = next(name for name in value if name not in known)
        return (
            field_name([*path, _shortened(unknown)]),
            f"unknown field; known are {', '.join(sorted(known))}",
        )
    return field_name(path), _expectation(error)


def _expectation(error: ValidationError) -> str:
    rule = error.validator_value
    if error.validator == "enum":
        expected = f"one of {', '.join(map(str, rule))}"
    elif error.validator == "const":
        expected = repr(rule)
    elif error.validator == "type":
        expected = _alternatives([rule] if isinstance(rule, str) else rule)
    elif error.validator == "pattern":
        expected = f"text that matches {rule}"
    else:
        return _shortened(str(error.message))
    return f"expected {expected}, got {_shown(error.instance)}"


def _alternatives(type_names: Iterable[str]) -> str:
    return " or ".join(_TYPE_WORDS[name] for name in type_names)


def _shown(value: object) -> str:
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "an array"
    return _shortened(repr(value))


def _shortened(text: str) -> str:
    # A manifest is foreign input: control characters must not reach the terminal.
    clean = re.sub(r"[\x00-\x1f\x7f]", "?", text)
    return clean if len(clean) <= SHOWN_VALUE_CHARACTERS else f"{clean[:SHOWN_VALUE_CHARACTERS]}..."
