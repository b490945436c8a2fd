"""`lineup build`: compile a bundle's graphs for the machine that runs them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineup.cli.options import complete_bundles, given_options
from lineup.cli.tables import messages_console, say, size_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from lineup.backends.building import BuiltGraph
    from lineup.backends.tensorrt.builder import BuildOptions
    from lineup.bundles.bundle import Bundle

CPU_BACKEND = "onnxruntime"
OPENVINO_BACKENDS = ["openvino", "openvino:gpu", "openvino:npu"]


@click.command(short_help="Compile a bundle for this CPU, or with TensorRT or OpenVINO.")
@click.argument("bundle", shell_complete=complete_bundles)
@click.option(
    "--backend",
    type=click.Choice(["tensorrt", "tensorrt-rtx", CPU_BACKEND, *OPENVINO_BACKENDS]),
    default="tensorrt",
    show_default=True,
    help="NVIDIA's product for data centers and Jetson, the one for workstations, this CPU, or a "
    "device of OpenVINO; options other than --rebuild concern TensorRT alone.",
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
    rebuild: bool,
    **settings: Any,
) -> None:
    """Compile the graphs of BUNDLE (name or folder) for the machine that runs them.

    The results are kept under the home folder (`lineup cache` shows them), keyed by graph, release,
    GPU or processor, and shapes; one that does not fit exactly is not used. With onnxruntime, large
    graphs are optimised for this CPU; with openvino, all load in a third of the time. Either takes
    the weights' size once more on disk, and in memory while it lasts.
    """
    from lineup.backends.tensorrt.api import Flavour
    from lineup.backends.tensorrt.builder import BuildOptions, capability_from_text, range_from_text
    from lineup.runtime import Runtime

    if backend == CPU_BACKEND or backend in OPENVINO_BACKENDS:
        others = given_options("bundle", "backend", "rebuild")
        if others:
            raise click.UsageError(
                f"{', '.join(others)}: of TensorRT only; --backend {backend} compiles for this "
                "machine as it is."
            )
        _build_in_one_go(backend, bundle, rebuild=rebuild)
        return
    options = BuildOptions(
        flavour=Flavour(backend),
        compute_capability=(
            None if compute_capability is None else capability_from_text(compute_capability)
        ),
        batch=None if batch is None else range_from_text(batch),
        axes={name: range_from_text(text) for name, text in map(_split_axis, axes)},
        **settings,
    )
    _build_with_tensorrt(Runtime().bundle(bundle), options, rebuild=rebuild)


def _build_in_one_go(backend: str, bundle: str, *, rebuild: bool) -> None:
    from lineup.backends.building import build_for_cpu, build_with_openvino
    from lineup.backends.graph_cache import graph_cache
    from lineup.runtime import Runtime

    runtime, cache = Runtime("cpu" if backend == CPU_BACKEND else backend), graph_cache()
    with messages_console().status("compiling"):
        found = runtime.bundle(bundle)
        built = (
            build_for_cpu(found, cache, rebuild=rebuild)
            if backend == CPU_BACKEND
            else build_with_openvino(found, runtime.place[0], cache, rebuild=rebuild)
        )
        for one in built:
            _echo(one, "compiled")


def _build_with_tensorrt(bundle: Bundle, options: BuildOptions, *, rebuild: bool) -> None:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from lineup.backends.building import build_with_tensorrt
    from lineup.backends.graph_cache import graph_cache
    from lineup.backends.tensorrt.api import api_from_flavour

    api = api_from_flavour(options.flavour)
    console = messages_console()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task("", total=None)

        def progress_of(role: str) -> Callable[[str, int, int], None]:
            bars.reset(task)
            return lambda phase, done, steps: bars.update(
                task, description=f"{role}: {phase}", completed=done, total=steps
            )

        for built in build_with_tensorrt(
            bundle, api, options, graph_cache(), rebuild=rebuild, progress_of=progress_of
        ):
            _echo(built, "built")


def _echo(built: BuiltGraph, verb: str) -> None:
    made = built.compiled
    if made is None:
        say(f"{built.role}: nothing to build; it is small, or its weights are in eight bits")
        return
    how = "cached" if built.was_cached else f"{verb} in {made.build_seconds:.1f} s"
    say(
        f"{built.role}: {how}, {size_text(made.size_bytes)}, {made.key.backend} "
        f"{made.key.release} for {made.key.machine}: {made.path}"
    )


def _split_axis(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise click.BadParameter(f"{text!r}: write NAME=RANGE, e.g. rows=64.")
    return name, value
