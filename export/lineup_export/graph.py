"""Torch module to ONNX graph: one clean, deterministic file and its content-addressed weights.

Weights go from the module's own memory to their file one by one. What the export holds beyond the
module is the graph without weights and one tensor, so a model of gigabytes needs little more than
its own size.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import onnx_ir
import torch
from onnx import ModelProto, helper
from torch import Tensor, nn

from lineup.bundles.manifest import Parity, TensorSpec
from lineup.bundles.writer import BundleWriter
from lineup.errors import UsageError
from lineup_export.compression import compress_weights
from lineup_export.cpu_operators import FusedAttention, fuse_silu, split_upsampling
from lineup_export.external import WeightFiles
from lineup_export.rules import check_rules
from lineup_export.winograd import rewrite_in_winograd_form

OPSETS = range(18, 21)
"""TensorRT 10.3 takes up to 20; torch's exporter is written for 18 and later."""

GRAPH_NAME, CPU_GRAPH_NAME = "graph.onnx", "graph.cpu.onnx"

PRODUCER = "lineup"

_MOST = {"images": 63}
"""Longest of a free axis: diffusers takes another way from 64 images on. Where torch has to find
such a bound by itself, it traces the module twice. Graphs do not have it: they take any number."""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input of the graph to be made.

    Attributes:
        name: Its name.
        example: A tensor of its dtype; free axes at least 2 long.
        free_axes: Name per axis whose length is free.
        multiples: Per name in `free_axes`, what the length has to be a multiple of; 1 if absent.
    """

    name: str
    example: Tensor
    free_axes: Mapping[int, str]
    multiples: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OnnxGraph:
    """An ONNX graph that is not in a bundle yet.

    Attributes:
        onnx: The file; large constants point to `weights`.
        weights: Raw little-endian bytes, or the file that holds them, per location
            "weights/sha256-<hex>".
        opset: Version of the operator set.
        inputs: In the order of the graph.
        outputs: In the order of the graph.
        on_cpu: The file in another form, for ONNX Runtime on a CPU, with the same weights; None
            where there is none that gains. See `lineup_export.winograd`.
    """

    onnx: bytes
    weights: Mapping[str, bytes | Path]
    opset: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    on_cpu: bytes | None = None

    @property
    def size_bytes(self) -> int:
        """Size of the graph and of the files that it refers to."""
        return (
            len(self.onnx)
            + len(self.on_cpu or b"")
            + sum(
                len(one) if isinstance(one, bytes) else one.stat().st_size
                for one in self.weights.values()
            )
        )

    def write(self, folder: Path) -> Path:
        """Write graph and weights into an existing folder; return the path of the graph.

        The form for a CPU, where there is one, is `CPU_GRAPH_NAME` beside it.
        """
        for location, content in self.weights.items():
            path = folder / location
            path.parent.mkdir(exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            elif not (path.exists() and path.samefile(content)):
                shutil.copyfile(content, path)
        path = folder / GRAPH_NAME
        path.write_bytes(self.onnx)
        if self.on_cpu is not None:
            path.with_name(CPU_GRAPH_NAME).write_bytes(self.on_cpu)
        return path

    def add_to(self, writer: BundleWriter, role: str, parity: Parity) -> None:
        """Put graph and weights into a bundle."""
        writer.add_graph(
            role,
            self.onnx,
            inputs=self.inputs,
            outputs=self.outputs,
            opset=self.opset,
            parity=parity,
            weights=self.weights,
            on_cpu=self.on_cpu,
        )


def graph_from_module(
    module: nn.Module,
    inputs: Sequence[InputSpec],
    outputs: Sequence[str],
    *,
    opset: int,
    mixed_precision: bool = False,
    fuse_attention: bool = False,
    compress: bool = False,
    files: WeightFiles | None = None,
) -> OnnxGraph:
    """Export a module. The same module gives the same bytes.

    Args:
        module: Its `forward` takes the inputs in order.
        inputs: Names, examples and free axes; equal names of free axes are the same length.
        outputs: Names of the outputs, in order.
        opset: One of `OPSETS`.
        mixed_precision: Whether the module changes between fp32 and fp16 on purpose; otherwise a
            cast inside the graph is an accident that costs precision, and refused.
        fuse_attention: Whether long attentions become an operator that ONNX Runtime alone has; see
            `lineup_export.cpu_operators`.
        compress: Whether large weights are stored in eight bits; see `lineup_export.compression`.
        files: Keep the weights; without them weights are held in memory, which suits small models
            only.

    Raises:
        UsageError: The opset is not supported.
        RuntimeError: The module cannot be exported, or its graph breaks a rule that keeps
            every backend open.
    """
    if opset not in OPSETS:
        raise UsageError(
            f"Operator set {opset} was asked for; {OPSETS[0]} to {OPSETS[-1]} can be written.",
            hint="Leave --opset away: 18 suits every backend.",
        )
    program = program_from_module(
        module, inputs, outputs, opset=opset, fuse_attention=fuse_attention
    )
    formed = functools.partial(
        graph_from_model,
        program.model,
        inputs,
        opset=opset,
        mixed_precision=mixed_precision,
        fuse_attention=fuse_attention,
        compress=compress,
    )
    if files is not None:
        return formed(files=files)
    with tempfile.TemporaryDirectory(prefix="lineup-export-") as scratch:
        graph = formed(files=WeightFiles(Path(scratch)))
        weights = {place: Path(scratch, place).read_bytes() for place in graph.weights}
    return replace(graph, weights=weights)


def graph_from_model(
    intermediate: onnx_ir.Model,
    inputs: Sequence[InputSpec],
    *,
    opset: int,
    mixed_precision: bool = False,
    fuse_attention: bool = False,
    compress: bool = False,
    files: WeightFiles,
) -> OnnxGraph:
    """Bring a model that some exporter made into the form of a bundle; see `graph_from_module`.

    Its large constants leave it.

    Raises:
        RuntimeError: The graph breaks a rule that keeps every backend open.
    """
    _free_output_names(intermediate)
    if fuse_attention:
        split_upsampling(intermediate)
        fuse_silu(intermediate)
    if compress:
        compress_weights(intermediate)
    weights = files.stream(intermediate)
    model, content = _written(intermediate, inputs)
    path = files.folder / GRAPH_NAME
    path.write_bytes(content)
    check_rules(
        model, opset, mixed_precision=mixed_precision, runtime_only=fuse_attention, path=path
    )
    has_cpu_form = fuse_attention and rewrite_in_winograd_form(intermediate)
    return OnnxGraph(
        onnx=content,
        on_cpu=_written(intermediate, inputs)[1] if has_cpu_form else None,
        weights=weights,
        opset=opset,
        inputs=tuple(_tensor_spec(value) for value in model.graph.input),
        outputs=tuple(_tensor_spec(value) for value in model.graph.output),
    )


def _written(intermediate: onnx_ir.Model, inputs: Sequence[InputSpec]) -> tuple[ModelProto, bytes]:
    """Return a model as it is stored, and its bytes."""
    model = onnx_ir.to_proto(intermediate)
    _strip(model)
    _name_free_axes(model, inputs)
    return model, model.SerializeToString(deterministic=True)


def program_from_module(
    module: nn.Module,
    inputs: Sequence[InputSpec],
    outputs: Sequence[str],
    *,
    opset: int,
    fuse_attention: bool = False,
) -> torch.onnx.ONNXProgram:
    """Trace a module with torch; the arguments are those of `graph_from_module`.

    Returns:
        The model that torch wrote, and the program it was made from, with the same names.
    """
    free = _free_dimensions(inputs)
    shapes = tuple({axis: free[name] for axis, name in item.free_axes.items()} for item in inputs)
    # What a variadic parameter takes is one entry of the signature, and a tuple.
    parameters = inspect.signature(module.forward).parameters.values()
    named = [item for item in parameters if item.kind is not item.VAR_POSITIONAL]
    rest = shapes[len(named) :]
    nested = (*shapes[: len(named)], rest) if rest else shapes
    with _quiet(), FusedAttention() if fuse_attention else contextlib.nullcontext():
        program = torch.onnx.export(
            module.eval(),
            tuple(item.example for item in inputs),
            dynamo=True,
            opset_version=opset,
            dynamic_shapes=nested,
            input_names=[item.name for item in inputs],
            output_names=list(outputs),
            verbose=False,
        )
    assert program is not None
    return program


def _free_output_names(model: onnx_ir.Model) -> None:
    """Rename values inside the graph that torch called as an output is called."""
    ends = {id(value) for value in (*model.graph.inputs, *model.graph.outputs)}
    taken = {value.name for value in (*model.graph.inputs, *model.graph.outputs)}
    inside = [value for node in model.graph for value in node.outputs]
    for value in (*inside, *model.graph.initializers.values()):
        if value.name in taken and id(value) not in ends:
            value.name = f"{value.name}_inside"


def _free_dimensions(inputs: Sequence[InputSpec]) -> dict[str, Any]:
    """Return a symbolic length per name; a multiple of n is n times another symbol."""
    multiples: dict[str, int] = {}
    for item in inputs:
        for name in item.free_axes.values():
            multiples[name] = max(item.multiples.get(name, 1), multiples.get(name, 1))
    return {
        name: torch.export.Dim(name, min=1, max=_MOST.get(name))
        if multiple == 1
        else multiple * torch.export.Dim(f"{name}_per_{multiple}", min=1)
        for name, multiple in sorted(multiples.items())
    }


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what torch's exporter says about optional packages and its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", (DeprecationWarning, FutureWarning, UserWarning))
            yield
    finally:
        logger.setLevel(level)


def _strip(model: ModelProto) -> None:
    """Drop what does not compute (source locations, exporter's names), so that bytes repeat."""
    model.producer_name, model.producer_version = PRODUCER, ""
    model.doc_string = ""
    graph = model.graph
    graph.name, graph.doc_string = PRODUCER, ""
    for holder in (model, graph, *graph.input, *graph.output, *graph.initializer, *graph.node):
        del holder.metadata_props[:]
    del graph.value_info[:]
    for index, node in enumerate(graph.node):
        node.name, node.doc_string = f"{node.op_type}_{index}", ""


def _name_free_axes(model: ModelProto, inputs: Sequence[InputSpec]) -> None:
    """Give free axes of inputs their names back, where torch wrote e.g. "8*rows_per_8"."""
    names: dict[str, str] = {}
    for item, value in zip(inputs, model.graph.input, strict=True):
        for axis, name in item.free_axes.items():
            dimension = value.type.tensor_type.shape.dim[axis]
            names[dimension.dim_param] = name
            dimension.dim_param = name
    for value in model.graph.output:
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param in names:
                dimension.dim_param = names[dimension.dim_param]


def _tensor_spec(value: Any) -> TensorSpec:
    tensor = value.type.tensor_type
    dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    shape = tuple(axis.dim_param or int(axis.dim_value) for axis in tensor.shape.dim)
    return TensorSpec(name=value.name, dtype=dtype, shape=shape)
