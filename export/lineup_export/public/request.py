"""What the user asked to export, made into a model, and the model into a bundle."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from lineup.bundles.manifest import NAME_PATTERN, BundleKind, Precision
from lineup.errors import UsageError
from lineup_export.assembly import ExportedBundle, Watch, write_bundle
from lineup_export.component import ExportOptions
from lineup_export.public.defaults import recipe_from_folder
from lineup_export.public.folder import (
    INDEX_NAME,
    WHOLE,
    FolderSource,
    check_licence,
    local_origin,
    snapshot,
    source_from_hub,
)
from lineup_export.public.parts import (
    Described,
    PublicModel,
    captioner,
    encoder,
    generator,
)
from lineup_export.public.source import RandomSource
from lineup_export.versions import tool_versions
from lineup_models.recipes.read import open_recipe, recipe_names
from lineup_models.recipes.recipe import Recipe, RecipeKind

UNKNOWN_LICENCE = "NOASSERTION"
"""SPDX's word where nobody has said."""

_NEEDED = {
    RecipeKind.CAPTIONER: (WHOLE,),
    RecipeKind.ENCODER: (WHOLE,),
    RecipeKind.GENERATOR: ("text_encoder", "unet", "vae"),
}

_DESCRIBE = {
    RecipeKind.ENCODER: encoder,
    RecipeKind.CAPTIONER: captioner,
    RecipeKind.GENERATOR: generator,
}


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """Options of `lineup export captioner|encoder|generator`, which its help explains.

    None stands for what the recipe, the repository or the folder says.
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
        UsageError: There is no such model, it is of another kind or incomplete, or it cannot be
            had.
    """
    is_random = request.weights == "random"
    if request.tiny and not is_random:
        raise UsageError("Only random weights can be shrunk.", hint="Add --weights random.")
    folder = Path(request.model).expanduser()
    if folder.is_dir():
        if is_random:
            raise UsageError(
                f"{folder} is a folder, which has weights of its own.",
                hint="Leave --weights away, or name a recipe.",
            )
        source = FolderSource(folder, local_origin(folder))
        return _from_files(request, _checked(source, request.kind))
    if "/" in request.model and request.model not in recipe_names():
        if is_random:
            raise UsageError(
                f"{request.model} is on the hub, so its architecture is not known here.",
                hint=f"Random weights need a recipe: {', '.join(recipe_names())}.",
            )
        source = _hub_source(request, precision)
        return _from_files(request, _checked(source, request.kind))
    recipe = _recipe(request.model, request.kind)
    if is_random:
        drawn = RandomSource(recipe, request.seed, request.tiny)
        # Random weights are nobody's work: the licence is this project's.
        return _model(request, replace(recipe, licence="Apache-2.0"), drawn)
    check_licence(recipe, accepted=request.accept_licence)
    parts = [component.part for component in recipe.components]
    revision = request.revision or recipe.revision
    hub = _checked(source_from_hub(recipe.hub_id, revision, parts, precision), request.kind)
    lora = None
    if recipe.lora is not None:
        low_rank = recipe.lora
        lora = snapshot(low_rank.hub_id, low_rank.revision, [low_rank.file]) / low_rank.file
    return _model(request, recipe, hub, lora)


def _hub_source(request: ExportRequest, precision: Precision) -> FolderSource:
    """Return a repository of the hub that is no recipe's."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", request.model):
        raise UsageError(f"There is no folder {request.model!r}.")
    revision = request.revision or "main"
    parts = [WHOLE]
    if request.kind is RecipeKind.GENERATOR:
        folder = snapshot(request.model, revision, [INDEX_NAME])
        parts = FolderSource(folder, local_origin(folder)).parts()
    return source_from_hub(request.model, revision, parts, precision)


def _from_files(request: ExportRequest, source: FolderSource) -> PublicModel:
    """Return the model of a folder or repository, run by the recipe named or by its own files."""
    licence = request.licence or UNKNOWN_LICENCE
    if request.recipe:
        recipe = replace(_recipe(request.recipe, request.kind), licence=licence)
    else:
        name = Path(request.model).expanduser().resolve().name
        recipe = recipe_from_folder(source, request.kind, name, licence)
    return _model(request, recipe, source)


def _checked(source: FolderSource, kind: RecipeKind) -> FolderSource:
    """Return a source that has what its kind needs."""
    for part in _NEEDED[kind]:
        if not source.has(part):
            raise UsageError(
                f"{source.origin.id} is no {kind.value}: it has no component {part!r}.",
                hint="`lineup models list` shows which recipes are of which kind.",
            )
    return source


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
    recipe: Recipe,
    source: RandomSource | FolderSource,
    lora: Path | None = None,
) -> PublicModel:
    name = request.name or recipe.name
    if not NAME_PATTERN.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a bundle.", hint="Choose one with --name."
        )
    return PublicModel(replace(recipe, name=name), source, lora, request.layer)


def bundle_from_model(
    model: PublicModel, target: Path, options: ExportOptions, watch: Watch = lambda *_: None
) -> ExportedBundle:
    """Export a model; see `write_bundle`.

    Raises:
        UsageError: The tower has no such layer, or weights cannot be read.
    """
    fields, components, files = described(model)
    fields |= {
        "kind": BundleKind(model.recipe.kind.value),
        "name": model.recipe.name,
        "licence": model.recipe.licence,
        "source": model.source.origin,
        "tools": tool_versions(),
    }
    return write_bundle(target, fields, components, files, options, watch)


def described(model: PublicModel) -> Described:
    """Return what a model's bundle is made of; no component is built yet."""
    return _DESCRIBE[model.recipe.kind](model)
