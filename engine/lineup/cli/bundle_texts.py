"""What `lineup models` says of bundles and recipes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineup.cli.tables import size_text

if TYPE_CHECKING:
    from lineup.bundles.manifest import Graph, Manifest, TensorSpec
    from lineup.bundles.store import StoredBundle


def record_from_stored(entry: StoredBundle) -> dict[str, Any]:
    """Return a bundle's line of `list --json`; what an unreadable manifest holds is null."""
    about = entry.manifest
    return {
        "name": entry.name,
        "path": str(entry.path),
        "shipped": entry.shipped,
        "kind": None if about is None else about.kind.value,
        "precision": None if about is None else about.precision.value,
        "licence": None if about is None else about.licence,
        "source": None if about is None else f"{about.source.origin.value}: {about.source.id}",
        "size_bytes": None if about is None else about.size_bytes,
        "problem": entry.problem,
    }


def record_from_recipe(recipe: Any) -> dict[str, Any]:
    """Return a recipe's line of `list --recipes --json`."""
    return {
        "name": recipe.name,
        "kind": recipe.kind.value,
        "title": recipe.title,
        "hub_id": recipe.hub_id,
        "revision": recipe.revision,
        "licence": recipe.licence,
        "accept_licence": recipe.accept_licence,
        "download_mb": recipe.download_mb,
        "components": [component.part for component in recipe.components],
        "hazards": list(recipe.hazards),
        "recalled": list(recipe.recalled),
    }


def facts_from_manifest(root: Path, manifest: Manifest, digest: str) -> list[tuple[str, str]]:
    """Return what a bundle says about itself, as labels and values.

    Args:
        root: Its folder.
        manifest: Its manifest.
        digest: Identity of its content.
    """
    source = manifest.source
    facts = [
        ("name", manifest.name),
        ("kind", manifest.kind.value),
        ("licence", manifest.licence),
        ("source", f"{source.origin.value}: {source.id} @ {source.revision}"),
        ("precision", manifest.precision.value),
        ("created", manifest.created),
        ("made with", ", ".join(f"{tool} {version}" for tool, version in manifest.tools.items())),
        ("preprocess", _settings_text(manifest.preprocess.given())),
        ("size", size_text(manifest.size_bytes)),
        ("digest", digest),
        ("folder", str(root)),
    ]
    if manifest.fingerprint is not None:
        info = manifest.fingerprint
        facts.insert(2, ("fingerprint", f"{info.method}, {info.dimension} numbers"))
    if manifest.generation is not None:
        defaults = manifest.generation
        size = f"{defaults.native_width_px}x{defaults.native_height_px} px"
        facts.insert(
            2, ("generation", f"{size}, {defaults.steps} steps, guidance {defaults.guidance:g}")
        )
    return facts


def cells_from_graph(graph: Graph) -> tuple[str, str, str, str]:
    """Return inputs, outputs, size and parity of a graph."""
    size_bytes = graph.file.size_bytes + sum(weight.size_bytes for weight in graph.weights)
    parity = graph.parity
    return (
        "\n".join(_tensor_text(spec) for spec in graph.inputs),
        "\n".join(_tensor_text(spec) for spec in graph.outputs),
        size_text(size_bytes),
        f"{parity.metric} {parity.value:.2g} of {parity.tolerance:.2g} allowed, "
        f"{parity.samples} inputs, against {parity.reference}",
    )


def cost_text(graph: Graph) -> str:
    """Return what a run of a graph costs."""
    cost = graph.cost
    if cost is None:
        return "not measured"
    mib = 2**20
    return (
        f"{cost.loaded_bytes / mib:.1f} MiB loaded, {cost.activation_bytes / mib:.1f} MiB in a run "
        f"of {cost.run_ms:.1f} ms ({cost.threads} threads); each further item "
        f"{cost.activation_bytes_per_item / mib:.1f} MiB and {cost.run_ms_per_item:.1f} ms"
    )


def _settings_text(settings: Any) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.items())


def _tensor_text(spec: TensorSpec) -> str:
    return f"{spec.name}: {spec.dtype} [{', '.join(map(str, spec.shape))}]"
