"""Torch module to ONNX graph: one clean, deterministic file and its content-addressed weights."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import ModelProto, TensorProto, helper
from torch import Tensor, nn

from lineup.bundles.bundle import weight_location
from lineup.bundles.manifest import TensorSpec
from lineup.errors import UsageError
from lineup.files import sha256_from_bytes

OPSETS = range(18, 21)
"""TensorRT 10.3 takes up to 20; torch's exporter is written for 18 and later."""

INLINE_BYTES = 1024
"""Larger constants become external data."""

PRODUCER = "lineup"


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input of the graph to be made.

    Attributes:
        name: Its name.
        example: A tensor of its dtype; free axes at least 2 long.
        free_axes: Name per axis whose length is free.
    """

    name: str
    example: Tensor
    free_axes: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class OnnxGraph:
    """An ONNX graph that has not been written yet.

    Attributes:
        onnx: The file; large constants point to `weights`.
        weights: Raw little-endian bytes per location, "weights/sha256-<hex>".
        opset: Version of the operator set.
        inputs: In the order of the graph.
        outputs: In the order of the graph.
    """

    onnx: bytes
    weights: Mapping[str, bytes]
    opset: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def write(self, folder: Path) -> Path:
        """Write graph and weights into an existing folder; return the path of the graph."""
        for location, content in self.weights.items():
            path = folder / location
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        path = folder / "graph.onnx"
        path.write_bytes(self.onnx)
        return path


def graph_from_module(
    module: nn.Module,
    inputs: Sequence[InputSpec],
    outputs: Sequence[str],
    *,
    opset: int,
    mixed_precision: bool = False,
) -> OnnxGraph:
    """Export a module. The same module gives the same bytes.

    Args:
        module: Its `forward` takes the inputs in order.
        inputs: Names, examples and free axes; equal names of free axes are the same length.
        outputs: Names of the outputs, in order.
        opset: One of `OPSETS`.
        mixed_precision: Whether the module changes between fp32 and fp16 on purpose; otherwise a
            cast inside the graph is an accident that costs precision, and refused.

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
    model = _model_from_module(module, inputs, outputs, opset)
    _strip(model)
    check_rules(model, opset, mixed_precision=mixed_precision)
    weights = _externalise(model)
    return OnnxGraph(
        onnx=model.SerializeToString(deterministic=True),
        weights=weights,
        opset=opset,
        inputs=tuple(_tensor_spec(value) for value in model.graph.input),
        outputs=tuple(_tensor_spec(value) for value in model.graph.output),
    )


def _model_from_module(
    module: nn.Module, inputs: Sequence[InputSpec], outputs: Sequence[str], opset: int
) -> ModelProto:
    names = sorted({name for item in inputs for name in item.free_axes.values()})
    free = {name: torch.export.Dim(name, min=1) for name in names}
    shapes = tuple({axis: free[name] for axis, name in item.free_axes.items()} for item in inputs)
    with _quiet():
        program = torch.onnx.export(
            module.eval(),
            tuple(item.example for item in inputs),
            dynamo=True,
            opset_version=opset,
            dynamic_shapes=shapes,
            input_names=[item.name for item in inputs],
            output_names=list(outputs),
            verbose=False,
        )
    assert program is not None
    model: ModelProto = program.model_proto
    return model


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


def check_rules(model: ModelProto, opset: int, *, mixed_precision: bool = False) -> None:
    """Check that every backend can take the graph.

    Raises:
        RuntimeError: The graph has another operator set, foreign operators, a DFT, or a cast
            inside it without being of mixed precision.
    """
    versions = {entry.domain: entry.version for entry in model.opset_import}
    if versions != {"": opset}:
        raise RuntimeError(f"the graph uses the operator sets {versions}, expected {opset} only")
    onnx.checker.check_model(model, full_check=True)
    operators = {node.op_type for node in model.graph.node}
    refused = operators & {"DFT", "STFT", "Resize", "Loop", "Scan", "If", "RandomNormal"}
    if refused:
        raise RuntimeError(f"the graph has operators that a backend lacks: {sorted(refused)}")
    fed = {value.name for value in model.graph.input}
    for node in model.graph.node:
        if node.op_type == "Cast" and node.input[0] not in fed and not mixed_precision:
            raise RuntimeError(f"the graph casts {node.input[0]!r}, which is not an input")


def _externalise(model: ModelProto) -> dict[str, bytes]:
    """Move large constants out of the graph; equal ones become one."""
    weights: dict[str, bytes] = {}
    for tensor in model.graph.initializer:
        content = onnx.numpy_helper.to_array(tensor).tobytes()
        if len(content) <= INLINE_BYTES:
            continue
        location = weight_location(sha256_from_bytes(content))
        weights[location] = content
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.data_location = TensorProto.EXTERNAL
        del tensor.external_data[:]
        for key, value in (("location", location), ("offset", "0"), ("length", str(len(content)))):
            tensor.external_data.add(key=key, value=value)
    return weights


def _tensor_spec(value: Any) -> TensorSpec:
    tensor = value.type.tensor_type
    dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    shape = tuple(axis.dim_param or int(axis.dim_value) for axis in tensor.shape.dim)
    return TensorSpec(name=value.name, dtype=dtype, shape=shape)
