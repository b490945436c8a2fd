"""Recipes from their TOML files; imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from lineup.documents import DocumentFormat
from lineup.errors import BundleFormatError, UsageError, did_you_mean
from lineup_models.recipes.recipe import Recipe, RecipeKind

FOLDER = Path(__file__).parent

_NEEDED = {
    RecipeKind.CAPTIONER: ("preprocess", "captioner"),
    RecipeKind.ENCODER: ("preprocess", "encoder"),
    RecipeKind.GENERATOR: ("generation", "scheduler"),
}


def recipe_names(folder: Path = FOLDER) -> tuple[str, ...]:
    """Return the names of all recipes, sorted."""
    return tuple(sorted(path.stem for path in folder.glob("*.toml")))


def all_recipes() -> tuple[Recipe, ...]:
    """Return all recipes by name.

    Raises:
        BundleFormatError: A file breaks the rules; names file and field.
    """
    return tuple(map(open_recipe, recipe_names()))


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
        raise UsageError(
            f"There is no recipe {name!r}; there are: {', '.join(names)}.",
            hint=did_you_mean(name, names) or "`lineup models list` shows them.",
        )
    path = folder / f"{name}.toml"
    raw = RECIPE.read_raw(path)
    components = raw.get("components")
    if isinstance(components, list):
        raw["components"] = [_with_architecture(path, entry) for entry in components]
    recipe = RECIPE.from_raw(raw, where=str(path))
    if recipe.name != name:
        raise _wrong(path, "name", f"expected {name!r} after the file, got {recipe.name!r}")
    return recipe


def _with_architecture(path: Path, entry: Any) -> Any:
    """Replace the name of an architecture by what its file holds, with the entry's own changes."""
    if not isinstance(entry, dict) or not isinstance(entry.get("architecture"), str):
        return entry
    file = path.parent / "architectures" / f"{entry['architecture']}.toml"
    if not file.is_file():
        raise _wrong(path, "components.architecture", f"there is no {file.name}")
    raw = RECIPE.read_raw(file)
    rest = {key: value for key, value in entry.items() if key != "config"}
    config = {**raw.get("config", {}), **entry.get("config", {})}
    return {**rest, "architecture": {"class_name": raw.get("class"), "config": config}}


def _contradictions(recipe: Recipe) -> Iterator[str]:
    for field in _NEEDED[recipe.kind]:
        if not getattr(recipe, field):
            yield f"{field}: missing; a recipe of kind {recipe.kind.value} needs it"
    parts = [component.part for component in recipe.components]
    wanted = ["unet", "vae"] if recipe.kind is RecipeKind.GENERATOR else ["model"]
    if not set(wanted) <= set(parts) or len(set(parts)) != len(parts):
        yield f"components: expected {wanted} once each, got {parts}"
    if recipe.lora is not None and recipe.lora.part not in parts:
        yield f"lora.part: {recipe.lora.part!r} is not among {parts}"


RECIPE = DocumentFormat(
    Recipe,
    BundleFormatError,
    "A recipe beside it shows what is expected.",
    syntax="toml",
    contradictions=_contradictions,
)


def _wrong(path: Path, field: str, problem: str) -> BundleFormatError:
    return BundleFormatError(f"{path}: {field}: {problem}", hint=RECIPE.hint)
