"""A component's way into a bundle: module, graph, proof that they compute the same.

A component is built, exported, compared and forgotten before the next one is built, so an export
never holds more than its largest component.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lineup.bundles.manifest import Precision
from lineup.bundles.writer import BundleWriter
from lineup.errors import ParityError
from lineup.machine import MemoryWatch, PeakMemory, return_freed_memory
from lineup.types import AnyArray
from lineup_export.component import Component, ComponentReport, Exporter
from lineup_export.divergence import Divergence, explained, graph_divergence, half_divergence
from lineup_export.external import WeightFiles
from lineup_export.graph import GRAPH_NAME, OnnxGraph, graph_from_module, program_from_module
from lineup_export.parity import (
    checked_parity,
    lowest_cosine,
    max_relative_error,
    outputs_from_file,
)
from lineup_export.precision import (
    HalfPrecision,
    Islands,
    products_as_on_a_gpu,
    widened_parameters,
)

DTYPES = {Precision.FP32: torch.float32, Precision.FP16: torch.float16}
SAMPLE_INTERVAL_S = 0.02


@dataclass(frozen=True, slots=True)
class _Exported:
    """A graph, what it should compute, and what making it cost."""

    graph: OnnxGraph
    references: list[list[AnyArray]]
    parameters: int
    islands: Islands
    seconds: float
    peak: PeakMemory | None


def add_component(
    writer: BundleWriter,
    component: Component,
    precision: Precision,
    opset: int,
    files: WeightFiles,
    exporter: Exporter = Exporter.TORCH,
) -> ComponentReport:
    """Export a component into a bundle.

    Args:
        writer: The bundle being written.
        component: What to export.
        precision: Of weights and computation.
        opset: ONNX operator set.
        files: Of all components; on the bundle's file system. Its folder takes the graph as well.
        exporter: Torch's, or optimum's for a role that it can export.

    Raises:
        ParityError: The graph does not compute what the module computes.
        UsageError: The opset is not supported.
        RuntimeError: The module cannot be exported.
    """
    tolerance = dict(component.tolerances)[precision]
    exported = _exported(component, precision, tolerance, opset, files, exporter)
    # The runtime gets the memory that the module had.
    gc.collect()
    return_freed_memory()
    graph, references = exported.graph, exported.references
    with MemoryWatch(SAMPLE_INTERVAL_S) as memory:
        found = outputs_of_component(component, graph.write(files.folder))
    return_freed_memory()
    try:
        parity = checked_parity(
            component.role,
            _joined(found),
            _joined(references),
            reference=f"torch {torch.__version__} float32",
            tolerance=tolerance,
            samples=len(references),
        )
    except ParityError as error:
        where = _graph_divergence(component, precision, exported.islands, opset, files.folder)
        raise explained(error, where) from error
    writer.add_graph(
        component.role,
        graph.onnx,
        inputs=graph.inputs,
        outputs=graph.outputs,
        opset=graph.opset,
        parity=parity,
        weights=graph.weights,
    )
    return ComponentReport(
        role=component.role,
        parameters=exported.parameters,
        size_bytes=graph.size_bytes,
        islands=tuple(sorted(island.value for island in exported.islands)),
        parity=parity,
        cosine=lowest_cosine(_joined(found), _joined(references)),
        export_seconds=exported.seconds,
        export_peak=exported.peak,
        parity_peak=memory.peak,
        exporter=exporter.value,
    )


def _exported(
    component: Component,
    precision: Precision,
    tolerance: float,
    opset: int,
    files: WeightFiles,
    exporter: Exporter,
) -> _Exported:
    """Build the module, run it, export it; it is gone when this returns."""
    is_half = precision is Precision.FP16
    islands: Islands = frozenset()
    with MemoryWatch(SAMPLE_INTERVAL_S) as memory:
        module = component.module(DTYPES[precision]).eval().requires_grad_(False)
        parameters = sum(parameter.numel() for parameter in module.parameters())
        references = references_of_module(module, component.samples)
        if is_half:
            module, islands = _half_module(module, component, references, tolerance, opset)
        start = time.perf_counter()
        graph = graph_of_component(
            module, component, opset, files, exporter, is_half=is_half, fuse_attention=not is_half
        )
        seconds = time.perf_counter() - start
    return _Exported(graph, references, parameters, islands, seconds, memory.peak)


def graph_of_component(
    module: nn.Module,
    component: Component,
    opset: int,
    files: WeightFiles,
    exporter: Exporter,
    *,
    is_half: bool,
    fuse_attention: bool,
) -> OnnxGraph:
    """Export a component's module, built and in the precision wanted.

    Long attention becomes ONNX Runtime's own operator where asked for: not in half precision, which
    is for GPUs, where TensorRT lacks it. Optimum's graphs never have it.
    """
    if exporter is Exporter.OPTIMUM:
        # Optimum takes seconds to import.
        from lineup_export.optimum_route import graph_from_optimum  # noqa: PLC0415

        return graph_from_optimum(
            component.role,
            module,
            component.inputs,
            component.outputs,
            opset=opset,
            mixed_precision=is_half,
            files=files,
        )
    return graph_from_module(
        module,
        component.inputs,
        component.outputs,
        opset=opset,
        mixed_precision=is_half,
        fuse_attention=fuse_attention,
        files=files,
    )


def outputs_of_component(component: Component, path: Path) -> list[list[AnyArray]]:
    """Run a component's graph on its samples."""
    feeds = [
        {item.name: value.numpy() for item, value in zip(component.inputs, sample, strict=True)}
        for sample in component.samples
    ]
    ran = outputs_from_file(path, feeds)
    return [[outputs[key] for key in component.outputs] for outputs in ran]


def references_of_module(
    module: nn.Module, samples: Sequence[tuple[Tensor, ...]]
) -> list[list[AnyArray]]:
    """Return the module's outputs per sample, computed in single precision."""
    with torch.no_grad(), widened_parameters(module):
        return [_arrays(module(*sample)) for sample in samples]


def _half_module(
    module: nn.Module,
    component: Component,
    references: list[list[AnyArray]],
    tolerance: float,
    opset: int,
) -> tuple[nn.Module, Islands]:
    """Return the module in half precision with the fewest islands that keep to the tolerance.

    torch rounds to half after every operation, as a GPU does. ONNX Runtime on a CPU does not: it
    runs chains of operations in single precision, and would pass what overflows on a GPU.
    """
    errors, half = [], module
    for islands in component.ladder:
        half = HalfPrecision(module, islands)
        with torch.no_grad(), products_as_on_a_gpu():
            found = [_arrays(half(*sample)) for sample in component.samples]
        error = worst_error(found, references)
        if error <= tolerance:
            return half, islands
        errors.append(f"{' and '.join(sorted(islands))} in single precision: {error:.3g}")
    failure = ParityError(
        f"Component {component.role!r} differs from itself in single precision by more than "
        f"{tolerance:.3g} ({'; '.join(errors)}). No bundle was written.",
        hint="Export it with --precision fp32.",
    )
    program = _program(half, component, opset, is_half=True)
    first = (half_divergence(program, sample, tolerance) for sample in component.samples)
    raise explained(failure, next((one for one in first if one is not None), None))


def _graph_divergence(
    component: Component, precision: Precision, islands: Islands, opset: int, folder: Path
) -> Divergence | None:
    """Return the first node of the graph in a folder that differs from torch.

    The module is built and traced once more: it was given up so that the graph could run.
    """
    is_half = precision is Precision.FP16
    module = component.module(DTYPES[precision]).eval().requires_grad_(False)
    if is_half:
        module = HalfPrecision(module, islands)
    program = _program(module, component, opset, is_half=is_half)
    names = [item.name for item in component.inputs]
    path, tolerance = folder / GRAPH_NAME, dict(component.tolerances)[precision]
    for sample in component.samples:
        inputs = dict(zip(names, sample, strict=True))
        found = graph_divergence(path, program, inputs, tolerance)
        if found is not None:
            return found
    return None


def _program(
    module: nn.Module, component: Component, opset: int, *, is_half: bool
) -> torch.export.ExportedProgram:
    """Trace a module as its graph is made."""
    traced = program_from_module(
        module, component.inputs, component.outputs, opset=opset, fuse_attention=not is_half
    )
    program = traced.exported_program
    assert program is not None
    return program


def _arrays(outputs: Any) -> list[AnyArray]:
    items = outputs if isinstance(outputs, tuple | list) else (outputs,)
    return [item.detach().numpy() for item in items]


def _joined(outputs: list[list[AnyArray]]) -> list[AnyArray]:
    return [array for sample in outputs for array in sample]


def worst_error(found: list[list[AnyArray]], references: list[list[AnyArray]]) -> float:
    """Return the largest relative error of any output on any sample."""
    pairs = zip(_joined(found), _joined(references), strict=True)
    return max(max_relative_error(output, expected) for output, expected in pairs)
