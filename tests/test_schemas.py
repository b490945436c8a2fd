"""The published schemas say what the dataclasses say."""

import json
import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "schemas"
MAKE = runpy.run_path(str(FOLDER / "make.py"))


@pytest.mark.parametrize("name", MAKE["FORMATS"])
def test_a_schema_is_up_to_date(name: str) -> None:
    stored = (FOLDER / f"{name}.schema.json").read_text(encoding="utf-8")
    assert stored == MAKE["text_from_format"](MAKE["FORMATS"][name]), (
        "run: python docs/schemas/make.py"
    )


@pytest.mark.parametrize("name", MAKE["FORMATS"])
def test_a_schema_describes_every_field(name: str) -> None:
    schema = json.loads((FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))
    for part in (schema, *schema["$defs"].values()):
        for field, rule in part.get("properties", {}).items():
            assert rule.get("description"), (part["title"], field)
