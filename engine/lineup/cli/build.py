"""`lineup build`: compile a bundle's graphs for the machine that runs them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from lineup.backends.tensorrt.options import BuildOptions
    from lineup.bundles.bundle import Bundle


CPU_BACKEND = "onnxruntime"


@click.command(short_help="Compile a bundle for this CPU, or with TensorRT.")
@click.argument("bundle")
@click.option(
    "--backend",
    type=click.Choice(["tensorrt", "tensorrt-rtx", CPU_BACKEND]),
    default="tensorrt",
    show_default=True,
    help="NVIDIA's product for data centers and Jetson, the one for workstations, or this CPU; "
    f"options other than --rebuild do not concern {CPU_BACKEND}.",
)
@click.option(
    "--compute-capability",
    metavar="X.Y",
    help="GPU to build for; tensorrt-rtx needs no GPU for that.  [default: the GPU present]",
)
@click.option(
    "--batch",
    metavar="N|MIN:MAX|MIN:OPT:MAX",
    help="How many images, tiles, prompts or sequences one run takes.  [default: what the bundle "
    "was exported for, else 1]",
)
@click.option(
    "--axis",
    "axes",
    multiple=True,
    metavar="NAME=RANGE",
    help="Range of one free axis by name, e.g. rows=64; repeatable.",
)
@click.option("--workspace-mib", type=click.IntRange(min=1), help="Most scratch of one layer.")
@click.option(
    "--timing-cache",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of kernel timings to read and extend.",
)
@click.option("--weight-streaming", is_flag=True, help="Let weights stay in host memory.")
@click.option(
    "--refittable",
    is_flag=True,
    help="Plan without weights, shared by bundles that differ in weights alone.",
)
@click.option("--version-compatible", is_flag=True, help="Loadable by later releases.")
@click.option("--hardware-compatible", is_flag=True, help="Loadable by later GPU generations.")
@click.option("--rebuild", is_flag=True, help="Build even where a fitting engine is cached.")
def build(
    *,
    bundle: str,
    backend: str,
    compute_capability: str | None,
    batch: str | None,
    axes: tuple[str, ...],
    workspace_mib: int | None,
    timing_cache: Path | None,
    weight_streaming: bool,
    refittable: bool,
    version_compatible: bool,
    hardware_compatible: bool,
    rebuild: bool,
) -> None:
    """Compile the graphs of BUNDLE (name or folder) for the machine that runs them.

    With TensorRT, engines are kept in lineup's cache folder, keyed by graph, TensorRT release,
    GPU, precision and shapes; one that does not fit exactly is built anew. With onnxruntime, large
    graphs are optimised for this CPU and kept there too; that takes their weights' size once more
    on disk, and in memory while it lasts.
    """
    from lineup.backends.tensorrt.api import Flavour
    from lineup.backends.tensorrt.options import (
        BuildOptions,
        capability_from_text,
        range_from_text,
    )
    from lineup.bundles.store import BundleStore
    from lineup.paths import home_dir

    if backend == CPU_BACKEND:
        _refuse_options_of_tensorrt()
        _optimise_for_cpu(BundleStore(home_dir()).open(bundle), rebuild=rebuild)
        return
    options = BuildOptions(
        flavour=Flavour(backend),
        compute_capability=(
            None if compute_capability is None else capability_from_text(compute_capability)
        ),
        batch=None if batch is None else range_from_text(batch),
        axes={name: range_from_text(text) for name, text in map(_split_axis, axes)},
        workspace_mib=workspace_mib,
        timing_cache=timing_cache,
        weight_streaming=weight_streaming,
        refittable=refittable,
        version_compatible=version_compatible,
        hardware_compatible=hardware_compatible,
    )
    _build_engines(BundleStore(home_dir()).open(bundle), options, rebuild=rebuild)


def _refuse_options_of_tensorrt() -> None:
    context = click.get_current_context()
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name not in {"bundle", "backend", "rebuild"}
        and context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(
            f"{', '.join(given)}: of TensorRT only; --backend {CPU_BACKEND} optimises for this "
            "CPU as it is."
        )


def _optimise_for_cpu(bundle: Bundle, *, rebuild: bool) -> None:
    from rich.console import Console

    from lineup.backends.opening import optimised_graphs
    from lineup.backends.optimised import roles_to_optimise

    cache = optimised_graphs()
    large = frozenset(roles_to_optimise(bundle))
    for role in bundle.manifest.graphs:
        if role not in large:
            click.echo(f"{role}: small; optimised whenever it loads")
            continue
        found = None if rebuild else cache.find(bundle, role)
        how = "cached"
        if found is None:
            with Console(stderr=True).status(f"{role}: optimising"):
                found = cache.build(bundle, role)
            how = f"optimised in {found.build_seconds:.1f} s"
        click.echo(f"{role}: {how}, {found.size_bytes / 2**20:.1f} MiB: {found.path}")


def _build_engines(opened: Bundle, options: BuildOptions, *, rebuild: bool) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from lineup.backends.tensorrt.api import api_from_flavour
    from lineup.backends.tensorrt.build import build_bundle
    from lineup.backends.tensorrt.engines import EngineCache
    from lineup.paths import home_dir

    api = api_from_flavour(options.flavour)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        engines = build_bundle(
            opened,
            api,
            options,
            EngineCache(home_dir() / "engines"),
            rebuild=rebuild,
            progress_of=lambda role: _Bars(bars, role),
        )
        for built in engines:
            engine = built.engine
            how = "cached" if built.was_cached else f"built in {engine.build_seconds:.1f} s"
            click.echo(
                f"{built.role}: {how}, {engine.size_bytes / 2**20:.1f} MiB, "
                f"{api.flavour.value} {api.version}, compute capability "
                f"{engine.key.compute_capability}: {engine.path}"
            )


def _split_axis(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise click.BadParameter(f"{text!r}: write NAME=RANGE, e.g. rows=64.")
    return name, value


class _Bars:
    """TensorRT's nested phases as one bar: the outermost phase, with the innermost named."""

    def __init__(self, bars: Progress, role: str) -> None:
        self._bars, self._role = bars, role
        self._task: TaskID = bars.add_task(role, total=None)
        self._outermost = ""

    def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
        """Name the phase; the outermost one gives the bar its length."""
        self._bars.update(self._task, description=f"{self._role}: {phase}")
        if parent is None:
            self._outermost = phase
            self._bars.update(self._task, total=steps)

    def step(self, phase: str, step: int) -> None:
        """Advance the bar with the outermost phase."""
        if phase == self._outermost:
            self._bars.update(self._task, completed=step + 1)

    def phase_finish(self, phase: str) -> None:
        """Remove the bar when the outermost phase ends."""
        if phase == self._outermost:
            self._bars.remove_task(self._task)
