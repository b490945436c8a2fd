"""Writes the JSON Schemas of the documents that people write or exchange, from their dataclasses.

    python docs/schemas/make.py

What one field asks of another is not in a schema; the reader checks it all the same.
"""

from __future__ import annotations

import json
import re
from dataclasses import is_dataclass
from inspect import cleandoc
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from lineup.bundles.manifest import MANIFEST
from lineup.calibration.calibration import CALIBRATION
from lineup.documents import DocumentFormat
from lineup.lineups.spec import LINEUP_TOML

FOLDER = Path(__file__).parent
FORMATS: dict[str, DocumentFormat[Any]] = {
    "bundle": MANIFEST,
    "calibration": CALIBRATION,
    "lineup": LINEUP_TOML,
}

ATTRIBUTE = re.compile(r"^    (\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


def schema_from_format(document: DocumentFormat[Any]) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a document; its docstrings describe the fields."""
    (reference,), definitions = msgspec.json.schema_components([document.kind])
    kinds = {kind.__name__: kind for kind in dataclasses_in(inspect.type_info(document.kind))}
    for name, definition in definitions.items():
        # msgspec 0.23 takes the indentation off docstrings and tells of empty mappings.
        definition["description"] = cleandoc(definition.get("description", ""))
        for field in definition.get("properties", {}).values():
            if field.get("default") == {}:
                del field["default"]
        if name in kinds:
            definition["additionalProperties"] = False
            lineage = [base for base in kinds[name].__mro__ if is_dataclass(base)]
            docstrings = [cleandoc(base.__doc__ or "") for base in lineage]
            definition["description"] = docstrings[0].partition("\n")[0]
            for field, text in ATTRIBUTE.findall("\n".join(docstrings)):
                if field in definition["properties"]:
                    definition["properties"][field]["description"] = " ".join(text.split())
    top = definitions.pop(reference["$ref"].rsplit("/", 1)[1])
    version = {"const": document.schema_version, "description": "Version of this schema."}
    top["properties"] = {"schema_version": version, **top["properties"]}
    if document.altered_error is not None:
        top["properties"]["sha256"] = {
            "type": "string",
            "pattern": "^[0-9a-f]{64}$",
            "description": "Of the file itself, with 64 zeros in this place. One without is read.",
        }
    top["required"] = ["schema_version", *top.get("required", [])]
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **top}
    return {**schema, "$defs": definitions}


def dataclasses_in(info: inspect.Type) -> list[type]:
    """Return every dataclass that a type consists of."""
    found = [info.cls] if isinstance(info, inspect.DataclassType) else []
    if isinstance(info, inspect.DataclassType):
        parts = [field.type for field in info.fields]
    elif isinstance(info, inspect.DictType):
        parts = [info.value_type]
    elif isinstance(info, (inspect.ListType, inspect.VarTupleType)):
        parts = [info.item_type]
    elif isinstance(info, inspect.UnionType):
        parts = list(info.types)
    else:
        parts = [info.type] if isinstance(info, inspect.Metadata) else []
    return found + [kind for part in parts for kind in dataclasses_in(part)]


def text_from_format(document: DocumentFormat[Any]) -> str:
    """Return the content of a schema's file."""
    return json.dumps(schema_from_format(document), indent=2) + "\n"


if __name__ == "__main__":
    for name, document in FORMATS.items():
        (FOLDER / f"{name}.schema.json").write_text(text_from_format(document), encoding="utf-8")
