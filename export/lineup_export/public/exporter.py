"""Public models to bundles."""

from __future__ import annotations

from pathlib import Path

from lineup.bundles.manifest import BundleKind
from lineup_export.assembly import ExportedBundle, Watch, write_bundle
from lineup_export.component import ExportOptions
from lineup_export.public import parts
from lineup_export.versions import tool_versions
from lineup_models.recipes.recipe import RecipeKind

_DESCRIBE = {
    RecipeKind.ENCODER: parts.encoder,
    RecipeKind.CAPTIONER: parts.captioner,
    RecipeKind.GENERATOR: parts.generator,
}


def bundle_from_model(
    model: parts.PublicModel, target: Path, options: ExportOptions, watch: Watch = lambda *_: None
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


def described(model: parts.PublicModel) -> parts.Described:
    """Return what a model's bundle is made of; no component is built yet."""
    return _DESCRIBE[model.recipe.kind](model)
