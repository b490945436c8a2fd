"""An ONNX image tower to a bundle: the CLS token of every block, and a second graph cut early."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnx_ir
from onnx import TensorProto, helper, numpy_helper
from onnx_ir.passes.common import RemoveUnusedNodesPass

from lineup.backends.opening import options_for_device
from lineup.bundles.bundle import Bundle
from lineup.bundles.info import EncoderInfo
from lineup.bundles.manifest import (
    BatchRange,
    BundleKind,
    Manifest,
    Origin,
    Precision,
    Source,
    TensorSpec,
)
from lineup.bundles.writer import BundleWriter, today
from lineup.errors import BundleFormatError, LineupError
from lineup.machine import MemoryWatch
from lineup.models.encoder import CUT_TOWER, WHOLE_TOWER
from lineup.planning.measuring import bundle_with_costs
from lineup.types import AnyArray, Float32Array
from lineup_export.external import WeightFiles
from lineup_export.parity import checked_parity, latency_ms_of_file, outputs_from_file
from lineup_export.ready.description import ReadyModel, TowerLayer
from lineup_export.ready.first_token import compute_first_token_alone
from lineup_export.ready.integer_products import (
    activations_of_products,
    in_single_precision,
    with_precise_products,
    with_products_of_bytes,
)
from lineup_export.versions import tool_versions

logger = logging.getLogger(__name__)

CLS, EMBEDDING, INPUT = "cls", "embedding", "pixel_values"
OURS = "lineup_"
"""Begins the names of tensors between the tower's and those."""

SAMPLES = 4
TOLERANCE = 1e-4
"""Of the cut graph against the whole one: the same operations, perhaps fused otherwise."""

INT8_TOLERANCE = 0.05
"""The same where activations are rounded, against the same weights in single precision."""

WORTH = 0.9
"""Share of its time below which another form is worth its memory."""

BLOCKWISE = "/blockwise"
"""Ends the revision of weights that are multiplied so (`integer_products`)."""


def bundle_from_tower(model: ReadyModel, path: Path, target: Path) -> Bundle:
    """Make a bundle of a tower.

    Args:
        model: How the graph is read.
        path: The ONNX file, checked already.
        target: Folder that becomes the bundle.

    Raises:
        BundleFormatError: The file is no graph that runs, or lacks a tensor that the description
            names.
        ParityError: A graph does not give what the file gives.
        UsageError: The target exists.
    """
    feeds = _samples(model)
    try:
        graph = onnx_ir.from_proto(onnx.load(path))
        in_int8 = with_precise_products(graph) > 0
        model = _out_of_the_way(graph, model)
        if in_int8:
            exact = onnx_ir.to_proto(in_single_precision(graph))
            whole = _fastest(graph, exact, model, feeds)
        else:
            whole = exact = onnx_ir.to_proto(graph)
        references = _references(exact, model, feeds)
    except LineupError:
        raise
    except Exception as error:  # protobuf's, onnx_ir's, ONNX Runtime's: they have no common base
        raise BundleFormatError(
            f"{path} is no ONNX file that can be run: {error}",
            hint="Export it again; `onnx.checker.check_model` says what is wrong with a graph.",
        ) from error
    tower = model.tower
    dimension = references[0][tower.layers[0].tensor].shape[-1]
    embedding = None if tower.embedding is None else references[0][tower.embedding].shape[-1]
    about = Manifest(
        kind=BundleKind.ENCODER,
        name=model.name,
        licence=model.licence,
        source=Source(Origin.HUB, model.upstream, revision_from_model(model, in_int8=in_int8)),
        tools=tool_versions(("numpy", "onnx", "onnxruntime")),
        precision=Precision.FP32,
        graphs={},
        preprocess=model.preprocess,
        created=today(),
        encoder=EncoderInfo(
            layers=tuple(layer.block for layer in tower.layers),
            default_layer=tower.default_layer,
            dimension=dimension,
            embedding_dimension=embedding,
        ),
        batch=BatchRange(1, tower.batch),
    )
    middle = [layer for layer in tower.layers if layer.block == tower.default_layer]
    graphs = {WHOLE_TOWER: (tower.layers, tower.embedding), CUT_TOWER: (middle, None)}
    with TemporaryDirectory(prefix="lineup-tower-") as scratch, BundleWriter(target, about) as out:
        files = WeightFiles(Path(scratch))
        for role, (layers, named) in graphs.items():
            ranks = {layer.tensor: references[0][layer.tensor].ndim for layer in layers}
            part = _tower(whole, model, layers, named, ranks, (dimension, embedding))
            expected = _expected(references, layers, named)
            _add_graph(out, role, part, files, feeds, expected, in_int8=in_int8)
        bundle = out.finish()
    return bundle_with_costs(bundle) if MemoryWatch.available() else bundle


def _fastest(
    graph: onnx_ir.Model,
    exact: onnx.ModelProto,
    model: ReadyModel,
    feeds: Sequence[Mapping[str, AnyArray]],
) -> onnx.ModelProto:
    """Return a graph by bytes where this processor, and no GPU, is clearly faster so; else as is.

    Args:
        graph: With blockwise products.
        exact: The same in single precision.
        model: How it is read.
        feeds: Samples of its input.
    """
    lean = onnx_ir.to_proto(graph)
    device, _ = options_for_device("auto", 0)
    if not device.on_cpu:
        return lean
    names = activations_of_products(graph)
    runs = _tensors(exact, names, model, feeds)
    samples = {name: np.concatenate([run[name] for run in runs]) for name in names}
    other = onnx_ir.to_proto(with_products_of_bytes(graph, samples))
    named = [{model.tower.input: feed[INPUT]} for feed in feeds]
    with TemporaryDirectory(prefix="lineup-tower-") as folder:
        path, latencies_ms = Path(folder) / "form.onnx", []
        for form in (lean, other):
            path.write_bytes(form.SerializeToString())
            latencies_ms.append(latency_ms_of_file(path, named))
    logger.info("%s: %s ms an image by forms of its products", model.name, latencies_ms)
    return other if latencies_ms[1] < WORTH * latencies_ms[0] else lean


def revision_from_model(model: ReadyModel, *, in_int8: bool = False) -> str:
    """Return what the weights are, and how they are multiplied: features follow from both."""
    return f"sha256:{model.sha256}{BLOCKWISE if in_int8 else ''}"


def _out_of_the_way(graph: onnx_ir.Model, model: ReadyModel) -> ReadyModel:
    """Give tensors of the tower that have a name of ours another, in the description as well."""
    values = [*graph.graph.inputs, *graph.graph.initializers.values()]
    for node in graph.graph.all_nodes():
        values += node.outputs
    for inner in graph.graph.subgraphs():
        values += [*inner.inputs, *inner.initializers.values()]
    tower = model.tower
    taken = {value.name for value in values}
    renamed: dict[str, str] = {}
    for value in dict.fromkeys(values):
        name = value.name or ""
        if name == tower.input == INPUT or not (
            name in {CLS, EMBEDDING, INPUT} or name.startswith(OURS)
        ):
            continue
        own = f"tower_{name}"
        while own in taken:
            own += "_"
        taken.add(own)
        renamed[name] = value.name = own
    if not renamed:
        return model
    changed = replace(
        tower,
        input=renamed.get(tower.input, tower.input),
        layers=tuple(
            replace(layer, tensor=renamed.get(layer.tensor, layer.tensor)) for layer in tower.layers
        ),
        embedding=tower.embedding and renamed.get(tower.embedding, tower.embedding),
    )
    return replace(model, tower=changed)


def _samples(model: ReadyModel) -> list[dict[str, AnyArray]]:
    """Return drawn inputs of the graph: ramps of light and some noise."""
    draw = np.random.default_rng(0)
    shape = (1, *model.input_shape)
    ramp = np.linspace(-1.5, 1.5, shape[2])[:, None] * np.linspace(-1, 1, shape[3])
    levels = [ramp * draw.normal(size=(1, 3, 1, 1)) for _ in range(SAMPLES)]
    return [{INPUT: np.float32(level + draw.normal(0, 0.3, shape))} for level in levels]


def _references(
    whole: onnx.ModelProto, model: ReadyModel, feeds: Sequence[Mapping[str, AnyArray]]
) -> list[dict[str, AnyArray]]:
    """Run the file as it is, with the described tensors as further outputs."""
    tower = model.tower
    named = [layer.tensor for layer in tower.layers]
    named += [] if tower.embedding is None else [tower.embedding]
    known = {name for node in whole.graph.node for name in node.output}
    missing = [name for name in named if name not in known]
    inputs = [value.name for value in whole.graph.input]
    if missing or tower.input not in inputs:
        wrong = missing[0] if missing else tower.input
        raise BundleFormatError(
            f"The graph has no tensor {wrong!r}, which the description of {model.name} names.",
            hint="A viewer such as Netron shows the names of a graph's tensors.",
        )
    return _tensors(whole, named, model, feeds)


def _tensors(
    graph: onnx.ModelProto,
    names: Sequence[str],
    model: ReadyModel,
    feeds: Sequence[Mapping[str, AnyArray]],
) -> list[dict[str, AnyArray]]:
    """Run a tower for some of the tensors in it."""
    probe = onnx.ModelProto()
    probe.CopyFrom(graph)
    del probe.graph.output[:]
    probe.graph.output.extend(_value(name) for name in names)
    with TemporaryDirectory(prefix="lineup-tower-") as folder:
        path = Path(folder) / "whole.onnx"
        path.write_bytes(probe.SerializeToString())
        return outputs_from_file(path, [{model.tower.input: feed[INPUT]} for feed in feeds])


def _expected(
    references: Sequence[Mapping[str, AnyArray]],
    layers: Sequence[TowerLayer],
    embedding: str | None,
) -> list[dict[str, AnyArray]]:
    expected = []
    for outputs in references:
        tokens = [_token(outputs[layer.tensor]) for layer in layers]
        row = {CLS: np.stack(tokens, axis=1)}
        expected.append(row if embedding is None else {**row, EMBEDDING: outputs[embedding]})
    return expected


def _token(states: AnyArray) -> Float32Array:
    return np.asarray(states[:, 0] if states.ndim == 3 else states, np.float32)


def _tower(
    whole: onnx.ModelProto,
    model: ReadyModel,
    layers: Sequence[TowerLayer],
    embedding: str | None,
    ranks: Mapping[str, int],
    dimensions: tuple[int, int | None],
) -> onnx.ModelProto:
    """Return the graph with the CLS tokens of some blocks put out; the rest is still in it."""
    tower = model.tower
    dimension, embedding_dimension = dimensions
    graph = onnx.ModelProto()
    graph.CopyFrom(whole)
    nodes = [helper.make_node("Identity", [INPUT], [tower.input])] if tower.input != INPUT else []
    constants = [
        numpy_helper.from_array(np.array(0, np.int64), f"{OURS}first"),
        numpy_helper.from_array(np.array([1], np.int64), f"{OURS}axis"),
    ]
    rows = []
    for layer in layers:
        token = f"{OURS}token_{layer.block}"
        if ranks[layer.tensor] == 3:
            nodes.append(
                helper.make_node("Gather", [layer.tensor, f"{OURS}first"], [token], axis=1)
            )
        else:
            nodes.append(helper.make_node("Identity", [layer.tensor], [token]))
        rows.append(f"{token}_row")
        nodes.append(helper.make_node("Unsqueeze", [token, f"{OURS}axis"], [rows[-1]]))
    nodes.append(helper.make_node("Concat", rows, [CLS], axis=1))
    outputs = [_value(CLS, ("images", len(layers), dimension))]
    if embedding is not None:
        nodes.append(helper.make_node("Identity", [embedding], [EMBEDDING]))
        outputs.append(_value(EMBEDDING, ("images", embedding_dimension)))
    graph.graph.node.extend(nodes)
    graph.graph.initializer.extend(constants)
    for values, fresh in (
        (graph.graph.input, [_value(INPUT, ("images", *model.input_shape))]),
        (graph.graph.output, outputs),
    ):
        del values[:]
        values.extend(fresh)
    del graph.graph.value_info[:]
    return graph


def _add_graph(
    out: BundleWriter,
    role: str,
    graph: onnx.ModelProto,
    files: WeightFiles,
    feeds: Sequence[Mapping[str, AnyArray]],
    expected: Sequence[Mapping[str, AnyArray]],
    *,
    in_int8: bool,
) -> None:
    intermediate = onnx_ir.from_proto(graph)
    intermediate.graph.sort()
    RemoveUnusedNodesPass()(intermediate)
    spared = compute_first_token_alone(intermediate)
    logger.info("%s: %d operators see one token", role, spared)
    weights = files.stream(intermediate)
    model = onnx_ir.to_proto(intermediate)
    content = model.SerializeToString(deterministic=True)
    path = files.folder / f"{role}.onnx"
    path.write_bytes(content)
    found = outputs_from_file(path, feeds)
    names = list(expected[0])
    parity = checked_parity(
        role,
        [outputs[name] for outputs in found for name in names],
        [outputs[name] for outputs in expected for name in names],
        reference="the published weights" + (", in single precision" if in_int8 else ""),
        tolerance=INT8_TOLERANCE if in_int8 else TOLERANCE,
        samples=len(feeds),
    )
    out.add_graph(
        role,
        content,
        inputs=[_spec(value) for value in graph.graph.input],
        outputs=[_spec(value) for value in graph.graph.output],
        opset=next(one.version for one in graph.opset_import if one.domain in {"", "ai.onnx"}),
        parity=parity,
        weights=weights,
    )


def _value(name: str, shape: Sequence[Any] | None = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    axes = value.type.tensor_type.shape.dim
    return TensorSpec(
        value.name, "float32", tuple(axis.dim_param or int(axis.dim_value) for axis in axes)
    )
