"""A component's way into a bundle: module, graph, proof that they compute the same.

A component is built, exported, compared and forgotten before the next one is built, so an export
never holds more than its largest component.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lineup.bundles.writer import BundleWriter
from lineup.errors import ParityError
from lineup.machine import MemoryWatch, return_freed_memory
from lineup.types import AnyArray
from lineup_export.component import (
    TOLERANCES,
    Component,
    ComponentReport,
    Exporter,
    ExportOptions,
    exporter_of,
)
from lineup_export.divergence import Divergence, explained, graph_divergence, half_divergence
from lineup_export.external import WeightFiles
from lineup_export.graph import (
    CPU_GRAPH_NAME,
    GRAPH_NAME,
    OnnxGraph,
    graph_from_module,
    program_from_module,
)
from lineup_export.parity import checked_parity, lowest_cosine, outputs_from_file, worst_error
from lineup_export.precision import HalfPrecision, Islands, products_as_on_a_gpu, widened_parameters

SAMPLE_INTERVAL_S = 0.02


def add_component(
    writer: BundleWriter, component: Component, options: ExportOptions, files: WeightFiles
) -> ComponentReport:
    """Export a component into a bundle.

    `files` are those of all components, on the bundle's file system; their folder takes the graph
    as well.

    Raises:
        ParityError: The graph does not compute what the module computes.
        UsageError: The opset is not supported.
        RuntimeError: The module cannot be exported.
    """
    graph, references, figures = _exported(component, options, files)
    # The runtime gets the memory that the module had.
    gc.collect()
    return_freed_memory()
    with MemoryWatch(SAMPLE_INTERVAL_S) as memory:
        path = graph.write(files.folder)
        forms = [path] if graph.on_cpu is None else [path, path.with_name(CPU_GRAPH_NAME)]
        found = [one for form in forms for one in outputs_of_component(component, form)]
    return_freed_memory()
    references *= len(forms)
    try:
        parity = checked_parity(
            component.role,
            found,
            references,
            reference=f"torch {torch.__version__} float32",
            tolerance=TOLERANCES[options.precision],
            samples=len(component.samples),
        )
    except ParityError as error:
        where = _graph_divergence(component, options, figures["islands"], files.folder)
        raise explained(error, where) from error
    graph.add_to(writer, component.role, parity)
    return ComponentReport(
        role=component.role,
        size_bytes=graph.size_bytes,
        parity=parity,
        cosine=lowest_cosine(found, references),
        parity_peak=memory.peak,
        exporter=exporter_of(component.role, options.exporter).value,
        **figures,
    )


def _exported(
    component: Component, options: ExportOptions, files: WeightFiles
) -> tuple[OnnxGraph, list[AnyArray], dict[str, Any]]:
    """Build the module, run it, export it; it is gone when this returns.

    Returns:
        The graph, what it should compute, and the figures of a report that are known by then.
    """
    islands: Islands = frozenset()
    with MemoryWatch(SAMPLE_INTERVAL_S) as memory:
        module = component.built(options.precision)
        parameters = sum(parameter.numel() for parameter in module.parameters())
        references = references_of_module(module, component.samples)
        if options.is_half:
            module, islands = _half_module(module, component, references, options)
        start = time.perf_counter()
        graph = graph_of_component(
            module, component, options, files, fuse_attention=not options.is_half
        )
        seconds = time.perf_counter() - start
    figures = {
        "parameters": parameters,
        "islands": tuple(sorted(islands)),
        "export_seconds": seconds,
        "export_peak": memory.peak,
    }
    return graph, references, figures


def graph_of_component(
    module: nn.Module,
    component: Component,
    options: ExportOptions,
    files: WeightFiles,
    *,
    fuse_attention: bool,
) -> OnnxGraph:
    """Export a component's module, built and in the precision wanted.

    Long attention becomes ONNX Runtime's own operator where asked for: not in half precision, which
    is for GPUs, where TensorRT lacks it. Optimum's graphs never have it.
    """
    if exporter_of(component.role, options.exporter) is Exporter.OPTIMUM:
        # Optimum takes seconds to import.
        from lineup_export.optimum_route import graph_from_optimum  # noqa: PLC0415

        return graph_from_optimum(module, component, options, files)
    return graph_from_module(
        module,
        component.inputs,
        component.outputs,
        opset=options.opset,
        mixed_precision=options.is_half,
        fuse_attention=fuse_attention,
        compress=options.compresses(component.role),
        files=files,
    )


def outputs_of_component(component: Component, path: Path) -> list[AnyArray]:
    """Run a component's graph on its samples; return the outputs of one after the other."""
    feeds = [
        {name: value.numpy() for name, value in sample.items()} for sample in component.samples
    ]
    ran = outputs_from_file(path, feeds)
    return [outputs[name] for outputs in ran for name in component.outputs]


def references_of_module(
    module: nn.Module, samples: Iterable[Mapping[str, Tensor]]
) -> list[AnyArray]:
    """Return the module's outputs on all samples, computed in single precision."""
    with widened_parameters(module):
        return _outputs(module, samples)


def _outputs(module: nn.Module, samples: Iterable[Mapping[str, Tensor]]) -> list[AnyArray]:
    found: list[AnyArray] = []
    with torch.no_grad():
        for sample in samples:
            outputs = module(*sample.values())
            items = outputs if isinstance(outputs, tuple | list) else (outputs,)
            found += [item.numpy() for item in items]
    return found


def _half_module(
    module: nn.Module, component: Component, references: list[AnyArray], options: ExportOptions
) -> tuple[nn.Module, Islands]:
    """Return the module in half precision with the fewest islands that keep to the tolerance.

    torch rounds to half after every operation, as a GPU does. ONNX Runtime on a CPU does not: it
    runs chains of operations in single precision, and would pass what overflows on a GPU.
    """
    errors, half, tolerance = [], module, TOLERANCES[options.precision]
    for islands in component.ladder:
        half = HalfPrecision(module, islands)
        with products_as_on_a_gpu():
            error = worst_error(_outputs(half, component.samples), references)
        if error <= tolerance:
            return half, islands
        errors.append(f"{' and '.join(sorted(islands))} in single precision: {error:.3g}")
    failure = ParityError(
        f"Component {component.role!r} differs from itself in single precision by more than "
        f"{tolerance:.3g} ({'; '.join(errors)}). No bundle was written.",
        hint="Export it with --precision fp32.",
    )
    program = _program(half, component, options)
    first = (half_divergence(program, [*one.values()], tolerance) for one in component.samples)
    raise explained(failure, next(filter(None, first), None))


def _graph_divergence(
    component: Component, options: ExportOptions, islands: Islands, folder: Path
) -> Divergence | None:
    """Return the first node of the graph in a folder that differs from torch.

    The module is built and traced once more: it was given up so that the graph could run.
    """
    module = component.built(options.precision)
    if options.is_half:
        module = HalfPrecision(module, islands)
    program = _program(module, component, options)
    path, tolerance = folder / GRAPH_NAME, TOLERANCES[options.precision]
    first = (graph_divergence(path, program, one, tolerance) for one in component.samples)
    return next(filter(None, first), None)


def _program(
    module: nn.Module, component: Component, options: ExportOptions
) -> torch.export.ExportedProgram:
    """Trace a module as its graph is made."""
    traced = program_from_module(
        module,
        component.inputs,
        component.outputs,
        opset=options.opset,
        fuse_attention=not options.is_half,
    )
    program = traced.exported_program
    assert program is not None
    return program
