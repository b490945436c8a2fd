"""What the user asked to export, made into a model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lineup.bundles.manifest import NAME_PATTERN, Precision
from lineup.errors import UsageError
from lineup_export.public.exporter import PublicModel
from lineup_export.public.folder import (
    INDEX_NAME,
    WHOLE,
    FolderSource,
    check_licence,
    local_origin,
    snapshot,
    source_from_hub,
)
from lineup_export.public.source import RandomSource
from lineup_models.recipes.read import open_recipe, recipe_names
from lineup_models.recipes.recipe import Recipe, RecipeKind

UNKNOWN_LICENCE = "NOASSERTION"
"""SPDX's word where nobody has said."""


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """Options of `lineup export captioner|encoder|generator`.

    Attributes:
        kind: What the model does.
        model: Recipe, hub repository, or folder.
        weights: "hub" or "random".
        name: Name of the bundle; None takes the recipe's or the repository's.
        recipe: Recipe that says how a repository or folder is run.
        revision: Revision on the hub; None takes the recipe's, or "main".
        licence: Of the weights of a repository or folder.
        accept_licence: The user accepts the licence's conditions.
        seed: Of random weights.
        tiny: Shrink random architectures.
        layer: Block at which an encoder is cut.
    """

    kind: RecipeKind
    model: str
    weights: str
    name: str | None = None
    recipe: str | None = None
    revision: str | None = None
    licence: str | None = None
    accept_licence: bool = False
    seed: int = 0
    tiny: bool = False
    layer: int | None = None


def model_from_request(request: ExportRequest, precision: Precision) -> PublicModel:
    """Find the weights; downloads them where they are on the hub.

    Raises:
        UsageError: There is no such model, it is of another kind, or it cannot be had.
    """
    if request.tiny and request.weights != "random":
        raise UsageError("Only random weights can be shrunk.", hint="Add --weights random.")
    folder = Path(request.model).expanduser()
    if folder.is_dir():
        return _from_folder(request, folder)
    if "/" in request.model and request.model not in recipe_names():
        return _from_hub(request, precision)
    recipe = _recipe(request.model, request.kind)
    if request.weights == "random":
        source = RandomSource(recipe, request.seed, request.tiny)
        # Random weights are nobody's work: the licence is this project's.
        return _model(request, recipe, source, "Apache-2.0")
    check_licence(recipe, accepted=request.accept_licence)
    parts = [component.part for component in recipe.components]
    revision = request.revision or recipe.revision
    hub = source_from_hub(recipe.hub_id, revision, parts, precision)
    lora = None
    if recipe.lora is not None:
        low_rank = recipe.lora
        lora = snapshot(low_rank.hub_id, low_rank.revision, [low_rank.file]) / low_rank.file
    return _model(request, recipe, hub, recipe.licence, lora)


def _from_folder(request: ExportRequest, folder: Path) -> PublicModel:
    if request.weights == "random":
        raise UsageError(
            f"{folder} is a folder, which has weights of its own.",
            hint="Leave --weights away, or name a recipe.",
        )
    recipe = _recipe(request.recipe, request.kind) if request.recipe else None
    source = FolderSource(folder, local_origin(folder))
    return _model(request, recipe, source, request.licence or UNKNOWN_LICENCE)


def _from_hub(request: ExportRequest, precision: Precision) -> PublicModel:
    if request.weights == "random":
        raise UsageError(
            f"{request.model} is on the hub, so its architecture is not known here.",
            hint=f"Random weights need a recipe: {', '.join(recipe_names())}.",
        )
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", request.model):
        raise UsageError(f"There is no folder {request.model!r}.")
    recipe = _recipe(request.recipe, request.kind) if request.recipe else None
    is_generator = request.kind is RecipeKind.GENERATOR
    revision = request.revision or "main"
    parts = [WHOLE]
    if is_generator:
        index = snapshot(request.model, revision, [INDEX_NAME]) / INDEX_NAME
        wanted = ("text_encoder", "text_encoder_2", "unet", "vae")
        found = FolderSource(index.parent, local_origin(index.parent))
        parts = [part for part in wanted if found.has(part)]
    source = source_from_hub(request.model, revision, parts, precision)
    return _model(request, recipe, source, request.licence or UNKNOWN_LICENCE)


def _recipe(name: str, kind: RecipeKind) -> Recipe:
    recipe = open_recipe(name)
    if recipe.kind is not kind:
        raise UsageError(
            f"{name} is a recipe of kind {recipe.kind.value}, not {kind.value}.",
            hint=f"lineup export {recipe.kind.value} {name}",
        )
    return recipe


def _model(
    request: ExportRequest,
    recipe: Recipe | None,
    source: RandomSource | FolderSource,
    licence: str,
    lora: Path | None = None,
) -> PublicModel:
    named = Path(request.model).expanduser().resolve().name if recipe is None else recipe.name
    name = request.name or named
    if not NAME_PATTERN.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a bundle.", hint="Choose one with --name."
        )
    return PublicModel(
        kind=request.kind,
        name=name,
        licence=licence,
        source=source,
        recipe=recipe,
        lora=lora,
        layer=request.layer,
    )
