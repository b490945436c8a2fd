"""Recipes from their TOML files, validated; reads nothing but TOML and imports no torch."""

from __future__ import annotations

import difflib
import sys
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from lineup.errors import BundleFormatError, UsageError
from lineup_models.recipes.recipe import Recipe, RecipeKind

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parent
SCHEMA_VERSION = 1

Kind = TypeVar("Kind")

_NEEDED = {
    RecipeKind.CAPTIONER: ("preprocess", "captioner"),
    RecipeKind.ENCODER: ("preprocess", "encoder"),
    RecipeKind.GENERATOR: ("generation", "scheduler"),
}


def recipe_names(folder: Path = FOLDER) -> tuple[str, ...]:
    """Return the names of all recipes, sorted."""
    return tuple(sorted(path.stem for path in folder.glob("*.toml")))


def all_recipes(folder: Path = FOLDER) -> tuple[Recipe, ...]:
    """Return all recipes by name.

    Raises:
        BundleFormatError: A file breaks the rules; names file and field.
    """
    return tuple(open_recipe(name, folder=folder) for name in recipe_names(folder))


@cache
def open_recipe(name: str, *, folder: Path = FOLDER) -> Recipe:
    """Read a recipe.

    Args:
        name: As `recipe_names` lists it.
        folder: Where the recipes are.

    Raises:
        UsageError: There is no such recipe; names the closest.
        BundleFormatError: The file breaks the rules; names file and field.
    """
    names = recipe_names(folder)
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        raise UsageError(
            f"There is no recipe {name!r}; there are: {', '.join(names)}.",
            hint=f"Did you mean {close[0]!r}?" if close else "`lineup models list` shows them.",
        )
    path = folder / f"{name}.toml"
    raw = _toml_from_file(path)
    version = raw.pop("schema_version", None)
    if version != SCHEMA_VERSION:
        raise _wrong(path, "schema_version", f"expected {SCHEMA_VERSION}, got {version!r}")
    components = raw.get("components", [])
    if isinstance(components, list):
        raw["components"] = [_with_architecture(path, entry) for entry in components]
    recipe = _dataclass_from_table(Recipe, raw, path, "")
    _check(recipe, path)
    return recipe


def _with_architecture(path: Path, entry: Any) -> Any:
    """Replace the name of an architecture by what its file holds, with the entry's own changes."""
    if not isinstance(entry, dict) or not isinstance(entry.get("architecture"), str):
        return entry
    file = path.parent / "architectures" / f"{entry['architecture']}.toml"
    if not file.is_file():
        raise _wrong(path, "components.architecture", f"there is no {file.name}")
    raw = _toml_from_file(file)
    changes = entry.get("config", {})
    rest = {key: value for key, value in entry.items() if key != "config"}
    config = {**raw.get("config", {}), **changes}
    return {**rest, "architecture": {"class_name": raw.get("class"), "config": config}}


def _check(recipe: Recipe, path: Path) -> None:
    if recipe.name != path.stem:
        raise _wrong(path, "name", f"expected {path.stem!r} after the file, got {recipe.name!r}")
    for field in _NEEDED[recipe.kind]:
        if not getattr(recipe, field):
            raise _wrong(path, field, f"missing; a recipe of kind {recipe.kind.value} needs it")
    parts = [component.part for component in recipe.components]
    wanted = ["unet", "vae"] if recipe.kind is RecipeKind.GENERATOR else ["model"]
    if not set(wanted) <= set(parts) or len(set(parts)) != len(parts):
        raise _wrong(path, "components", f"expected {wanted} once each, got {parts}")
    if recipe.lora is not None and recipe.lora.part not in parts:
        raise _wrong(path, "lora.part", f"{recipe.lora.part!r} is not among {parts}")


def _dataclass_from_table(kind: type[Kind], raw: Mapping[str, Any], path: Path, where: str) -> Kind:
    """Return a dataclass whose fields have the keys and types of a TOML table."""
    assert is_dataclass(kind)
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}
    for key in raw:
        if key not in known:
            raise _wrong(path, f"{where}{key}", f"unknown; expected one of {', '.join(known)}")
    for name, field in known.items():
        if name not in raw and field.default is MISSING and field.default_factory is MISSING:
            raise _wrong(path, f"{where}{name}", "missing")
    values = {key: _value(hints[key], value, path, f"{where}{key}") for key, value in raw.items()}
    return kind(**values)


def _value(hint: Any, value: Any, path: Path, where: str) -> Any:
    """Return a TOML value as the type that a field has."""
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(option for option in get_args(hint) if option is not type(None))
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_value(get_args(hint)[0], item, path, where) for item in value)
    if isinstance(hint, type) and is_dataclass(hint) and isinstance(value, dict):
        return _dataclass_from_table(hint, value, path, f"{where}.")
    if isinstance(hint, type) and issubclass(hint, Enum):
        try:
            return hint(value)
        except ValueError:
            words = ", ".join(str(member.value) for member in hint)
            raise _wrong(path, where, f"expected one of {words}, got {value!r}") from None
    if get_origin(hint) is not None and isinstance(value, dict):
        return value
    allowed = (int, float) if hint is float else hint
    is_plain = isinstance(allowed, (type, tuple)) and isinstance(value, allowed)
    if not is_plain or (isinstance(value, bool) and hint is not bool):
        name = getattr(hint, "__name__", str(hint))
        raise _wrong(path, where, f"expected {name}, got {value!r}")
    return float(value) if hint is float else value


def _toml_from_file(path: Path) -> dict[str, Any]:
    try:
        raw: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleFormatError(f"{path}: cannot be read: {error}") from error
    return raw


def _wrong(path: Path, field: str, problem: str) -> BundleFormatError:
    return BundleFormatError(
        f"{path}: {field}: {problem}", hint="A recipe beside it shows what is expected."
    )
