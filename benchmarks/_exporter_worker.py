"""One component by one way, in this process: the worker of exporters.py.

    python benchmarks/_exporter_worker.py RECIPE COMPONENT WAY --result FILE --work DIR

The file has what is known so far, so that a process that is killed loses its last figures only.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import logging
import os
import re
import statistics
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from _record import anonymous_mib, times_ms
from exporters import FUSED, OPTIMIZER_TYPES, WAYS, Task, Way, fused_counts
from lineup.backends.base import Runner
from lineup.backends.device import Device, DeviceKind
from lineup.backends.onnxrt import (
    RuntimeOptions,
    WeightPolicy,
    runner_from_onnx,
)
from lineup.backends.onnxrt_runners import OnnxRuntimeRunner
from lineup.bundles.manifest import Precision, TensorSpec
from lineup.machine import MemoryWatch, return_freed_memory
from lineup.types import AnyArray
from lineup_export.component import BLIP, FAMILIES, TOLERANCES, Component
from lineup_export.component_export import (
    SAMPLE_INTERVAL_S,
    graph_of_component,
    outputs_of_component,
    references_of_module,
)
from lineup_export.external import WeightFiles
from lineup_export.graph import InputSpec, OnnxGraph
from lineup_export.parity import worst_error
from lineup_export.precision import HalfPrecision
from lineup_export.public.request import ExportRequest, described, model_from_request
from lineup_export.versions import TOOLS, tool_versions
from lineup_models.recipes.read import open_recipe

RUNS = 3
USED = (*TOOLS, "optimum", "optimum-onnx")

NOT_OFFERED = {
    "vae_encoder": ("vae-encoder", "semantic-segmentation", "diffusers"),
    "vision_encoder": (*BLIP, "transformers"),
}
"""Where optimum's registry has what `lineup export` leaves to torch: tried here all the same."""


def component_of(task: Task, *, is_tiny: bool) -> tuple[Component, dict[str, int]]:
    """Return a component, not built yet, and the length of its free axes at the native size."""
    request = ExportRequest(open_recipe(task.recipe).kind, task.recipe, "random", tiny=is_tiny)
    fields, components, _ = described(model_from_request(request, Precision.FP32))
    generation = fields.get("generation")
    axes = {} if generation is None else generation.native_axes
    return next(one for one in components if one.role == task.component), axes


def exported(way: Way, component: Component, module: nn.Module, folder: Path) -> OnnxGraph:
    """Export a module as `lineup export` would."""
    # A role that lineup does not offer fails for optimum's reason, not for ours.
    with mock.patch.dict(FAMILIES, NOT_OFFERED):
        files = WeightFiles(folder)
        return graph_of_component(
            module, component, way.options, files, fuse_attention=way.is_fused
        )


def warm_up(way: Way, folder: Path) -> None:
    """Export next to nothing, for what a process loads and compiles with its first export."""
    inputs = (InputSpec("values", torch.ones(2, 3), {0: "images"}),)
    linear = nn.Linear(3, 3)
    small = Component("text_encoder", lambda _: linear, inputs, ("sums",), ())
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        wide = replace(way, options=replace(way.options, precision=Precision.FP32), is_fused=False)
        exported(wide, small, linear, Path(scratch))


def made_graph(
    way: Way, component: Component, folder: Path
) -> tuple[OnnxGraph, list[AnyArray], dict[str, Any]]:
    """Build a module, run and export it; it is gone when this returns.

    Returns:
        The graph, what it should compute, and what making it cost.
    """
    module = component.built(way.options.precision)
    references = references_of_module(module, component.samples)
    if way.options.is_half:
        # The first rung that the recipe allows; parity shows whether it holds.
        module = HalfPrecision(module, component.ladder[0])
    gc.collect()
    return_freed_memory()
    with MemoryWatch(SAMPLE_INTERVAL_S) as memory:
        start = time.perf_counter()
        graph = exported(way, component, module, folder)
        seconds = time.perf_counter() - start
    figures: dict[str, Any] = {"export_s": seconds, "peak_mib": anonymous_mib(memory.peak)}
    if way.options.is_half:
        figures["fp32_islands"] = sorted(island.value for island in component.ladder[0])
    return graph, references, figures


def parity_figures(
    way: Way, component: Component, path: Path, references: list[AnyArray]
) -> dict[str, Any]:
    """Compare the graph with torch in single precision, on the samples of the export."""
    error = worst_error(outputs_of_component(component, path), references)
    tolerance = TOLERANCES[way.options.precision]
    return {"max_relative_error": error, "tolerance": tolerance, "passes": error <= tolerance}


def native_feeds(inputs: Iterable[TensorSpec], axes: Mapping[str, int]) -> dict[str, AnyArray]:
    """Return one image or sequence, seeded; tokens and positions are 0."""
    draw = np.random.default_rng(0).standard_normal
    feeds: dict[str, AnyArray] = {}
    for item in inputs:
        shape = [axes.get(axis, 1) if isinstance(axis, str) else axis for axis in item.shape]
        make = draw if np.dtype(item.dtype).kind == "f" else np.zeros
        feeds[item.name] = make(shape).astype(item.dtype)
    return feeds


def default_ms(path: Path, feeds: Mapping[str, AnyArray], threads: int) -> dict[str, Any]:
    """Time a graph in ONNX Runtime by its defaults."""
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    return {"default_ms": median_ms(OnnxRuntimeRunner(session), feeds)}


def engine_ms(path: Path, feeds: Mapping[str, AnyArray], threads: int) -> dict[str, Any]:
    """Time a graph in the engine's session, weights mapped."""
    options = RuntimeOptions(threads=threads, weights=WeightPolicy.MAPPED)
    runner = runner_from_onnx(path, Device(DeviceKind.CPU), options)
    return {"engine_ms": median_ms(runner, feeds)}


def median_ms(runner: Runner, feeds: Mapping[str, AnyArray]) -> float:
    """Return the median of warm runs, and close the runner."""
    with runner:
        runner.run(feeds)
        return statistics.median(times_ms(lambda: runner.run(feeds), RUNS))


class Constant(np.ndarray):
    """A constant of a graph that is a number where it has one element.

    ONNX Runtime 1.31 takes heads of a UNet for one, and NumPy has stopped doing so with 2.4.
    """

    def __int__(self) -> int:
        return int(self.item())


@contextlib.contextmanager
def working_folder(folder: Path) -> Iterator[None]:
    """Work in a folder for the length of the block."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def fusion_figures(role: str, path: Path) -> dict[str, Any]:
    """Run ONNX Runtime's transformer optimizer, and count what it leaves."""
    # Only the worker needs it, and only at the end.
    from onnxruntime.transformers import optimizer  # noqa: PLC0415

    graph = onnx.load(path, load_external_data=False)
    # Fusions that join weights look for them in the working folder. Loaded with its weights, a text
    # encoder of 1.4 GB took 8 GB, and gave the same operators.
    constant = optimizer.OnnxModel.get_constant_value
    with (
        working_folder(path.parent),
        mock.patch.object(
            optimizer.OnnxModel,
            "get_constant_value",
            lambda *given: None if (value := constant(*given)) is None else value.view(Constant),
        ),
    ):
        model = optimizer.optimize_model(
            graph, model_type=OPTIMIZER_TYPES[role], opt_level=0, use_gpu=False
        )
    operators = Counter(node.op_type for node in model.nodes())
    return {
        "optimizer_type": OPTIMIZER_TYPES[role],
        "optimized_nodes": operators.total(),
        "fused": fused_counts(operators),
        "fused_operators": {name: operators[name] for name in sorted(set().union(*FUSED.values()))},
    }


def graph_figures(path: Path) -> dict[str, Any]:
    """Count nodes as they were exported."""
    nodes = onnx.load(path, load_external_data=False).graph.node
    return {"nodes": len(nodes), "exported": fused_counts(Counter(one.op_type for one in nodes))}


def first_line(error: BaseException) -> str:
    """Return the kind of an error and the first line of what it says, without folder names."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = re.sub(r"(/[\w.+-]+){2,}/", "", lines[0]) if lines else ""
    return f"{type(error).__name__}: {said}".rstrip(": ")


def measure(task: Task, arguments: argparse.Namespace) -> None:
    """Measure a component by a way; the arguments are those of `main`."""
    folder, target = arguments.work, arguments.result
    way = WAYS[task.way]
    result: dict[str, Any] = {
        **task._asdict(),
        "threads": arguments.threads,
        "tools": tool_versions(USED),
    }

    def keep(stage: str, figures: Callable[[], Mapping[str, Any]]) -> None:
        try:
            result.update(figures())
        except Exception as error:  # every library has errors of its own; the table shows them
            traceback.print_exc()
            result.setdefault("failures", {})[stage] = first_line(error)
        target.write_text(json.dumps(result), encoding="utf-8")

    component, axes = component_of(task, is_tiny=arguments.tiny)
    warm_up(way, folder)
    made: list[tuple[OnnxGraph, list[AnyArray]]] = []

    def export() -> Mapping[str, Any]:
        graph, references, figures = made_graph(way, component, folder)
        made.append((graph, references))
        return figures

    keep("export", export)
    if not made:
        return
    graph, references = made[0]
    # The runtime gets the memory that the module had.
    gc.collect()
    return_freed_memory()
    path = graph.write(folder)
    feeds = native_feeds(graph.inputs, axes)
    keep("nodes", lambda: graph_figures(path))
    keep("parity", lambda: parity_figures(way, component, path, references))
    if not way.options.is_half:
        # The engine's session has the allocator give back more from then on, so it comes second.
        keep("default_ms", lambda: default_ms(path, feeds, arguments.threads))
        keep("engine_ms", lambda: engine_ms(path, feeds, arguments.threads))
    keep("fused", lambda: fusion_figures(component.role, path))


def main() -> None:
    """Measure what was named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("component")
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder for graphs")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # TorchScript's deprecation, every constant traced
    logging.disable(logging.WARNING)
    torch.set_num_threads(arguments.threads or torch.get_num_threads())
    measure(Task(arguments.recipe, arguments.component, arguments.way), arguments)


if __name__ == "__main__":
    main()
