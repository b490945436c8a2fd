"""A second form of a graph, for ONNX Runtime on a CPU: wide 3 x 3 convolutions with fewer products.

Of an image in tiles of 4 x 4 results, each from 6 x 6 pixels, a convolution takes 36 products a
pair of features where written out it takes 144: pixels and weights are brought to another basis
(B and G), multiplied there, and the results brought back (A). Lavin and Gray, "Fast Algorithms for
Convolutional Neural Networks", 1509.09308, F(4 x 4, 3 x 3). ONNX Runtime's own convolutions are
direct, and close to what the processor multiplies at most. Measured on two cores with AVX-512: 512
features at 128 x 128 pixels 257 ms direct, 150 ms so; 256 at 256 x 256 414 and 190.

The bases are of small integers and fractions, in which rounding weighs a few times more than in
the direct sum: results are off by 1e-5 of the largest at most (measured). In 16 bits they would be
off by far more, and other backends have algorithms of their own, so the graph as exported stays.

Transformed weights are four times as large. They are made in every run, which takes 4 % of it, and
are never written: the basis comes out of a node that depends on the input, so that it is no
constant to fold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir

from lineup.backends.building import RUNTIME_DOMAIN
from lineup.types import AnyArray
from lineup_export.cpu_operators import add_initializer, is_plain_3x3

WIDTHS = (256, 512)
"""Features, in and out, of a convolution that is rewritten: what autoencoders of latent diffusion
have where they gain. With their 128, at the full size, what is saved goes into bringing pixels
there and back; a denoiser has 320 and more, of small images, and SD-Turbo's gained nothing."""

_TILE, _WINDOW = 4, 6
_PIXELS = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    np.float64,
)
_WEIGHTS = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    np.float64,
)
_RESULTS = np.array(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    np.float64,
)


def rewrite_in_winograd_form(model: onnx_ir.Model) -> bool:
    """Rewrite every convolution that gains; tell whether there was one. Other names are kept."""
    graph = model.graph
    found = [node for node in graph if is_plain_3x3(node) and _is_wide(node)]
    if not found:
        return False
    model.opset_imports[RUNTIME_DOMAIN] = 1
    basis = _basis_of_weights(graph, found[0])
    for node in found:
        _rewrite(graph, node, basis)
    return True


def _is_wide(node: onnx_ir.Node) -> bool:
    out, features = _widths(node)
    # One that narrows comes right after a doubling, where its input is the largest array of all.
    return features in WIDTHS and out in WIDTHS and features <= out


def _widths(node: onnx_ir.Node) -> tuple[int, int]:
    weight = node.inputs[1]
    assert weight is not None
    assert weight.shape is not None
    out, features, *_ = weight.shape.numpy()
    return out, features


def _basis_of_weights(graph: onnx_ir.Graph, first: onnx_ir.Node) -> onnx_ir.Value:
    """Return G x G, (36, 9), behind what nobody can fold: the least of one and an image's rows."""
    rows = onnx_ir.node("Shape", [first.inputs[0]], {"start": 2, "end": 3})
    one = onnx_ir.node("Min", [*rows.outputs, _numbers(graph, [1])])
    basis = _constant(graph, "basis", _twice(_WEIGHTS))
    behind = onnx_ir.node("Expand", [basis, *one.outputs])
    for node, name in ((rows, "rows"), (one, "least"), (behind, "weights")):
        node.outputs[0].name = f"winograd.{name}"
    graph.insert_before(first, [rows, one, behind])
    return behind.outputs[0]


def _rewrite(graph: onnx_ir.Graph, node: onnx_ir.Node, basis: onnx_ir.Value) -> None:
    """Put the nodes of the other form in the place of a convolution."""
    old = node.outputs[0]
    states, weight, *bias = node.inputs
    assert states is not None
    nodes = list(_nodes(graph, node, basis, states, weight, bias[0] if bias else None))
    for index, one in enumerate(nodes[:-1]):
        one.outputs[0].name = f"{old.name}.winograd_{index}"
    onnx_ir.convenience.replace_nodes_and_values(
        graph, node, [node], nodes, [old], nodes[-1].outputs
    )


def _nodes(
    graph: onnx_ir.Graph,
    node: onnx_ir.Node,
    basis: onnx_ir.Value,
    states: onnx_ir.Value,
    weight: onnx_ir.Value | None,
    bias: onnx_ir.Value | None,
) -> Iterator[onnx_ir.Node]:
    """Yield them in order; see the equations Y = A' (G g G' * B' d B) A of the paper."""
    out, features = _widths(node)
    places = _WINDOW**2

    def reshaped(value: onnx_ir.Value | None, shape: Sequence[int]) -> onnx_ir.Node:
        target = _numbers(graph, shape)
        return onnx_ir.node("Reshape", [value, target])

    yield (rows := reshaped(weight, [out * features, 9]))
    yield (transformed := _product(basis, rows.outputs[0], transB=1))  # (36, out * features)
    yield (factors := reshaped(transformed.outputs[0], [1, places, out, features]))

    yield (size := onnx_ir.node("Shape", [states], {"start": 2}))
    yield (count := onnx_ir.node("Shape", [states], {"end": 1}))
    # Features first, so that images are an axis that the product goes through.
    yield (turned := onnx_ir.node("Transpose", [states], {"perm": [1, 0, 2, 3]}))
    yield (planes := _joined(_numbers(graph, [-1, 1]), size))
    yield (alone := onnx_ir.node("Reshape", [*turned.outputs, *planes.outputs]))
    # The last tile may reach behind the image; tiles are counted up.
    pads = [1, 1, _TILE, _TILE]
    kernels = _constant(graph, "pixels", _twice(_PIXELS).reshape(places, 1, _WINDOW, _WINDOW))
    shape = {"kernel_shape": [_WINDOW, _WINDOW], "pads": pads, "strides": [_TILE, _TILE]}
    yield (windows := onnx_ir.node("Conv", [*alone.outputs, kernels], shape))
    yield (tiles := onnx_ir.node("Shape", windows.outputs, {"start": 2}))
    yield (split := _joined(_numbers(graph, [features]), count, _numbers(graph, [places, -1])))
    yield (columns := onnx_ir.node("Reshape", [*windows.outputs, *split.outputs]))

    yield (products := _product(factors.outputs[0], columns.outputs[0], transBatchB=1))
    yield (level := _joined(count, _numbers(graph, [places, -1])))
    yield (flat := onnx_ir.node("Reshape", [*products.outputs, *level.outputs]))
    results = _constant(graph, "results", _twice(_RESULTS))
    yield (back := onnx_ir.node("MatMul", [results, *flat.outputs]))
    yield (grid := _joined(count, _numbers(graph, [_TILE**2 * out]), tiles))
    yield (blocks := onnx_ir.node("Reshape", [*back.outputs, *grid.outputs]))
    yield (
        image := onnx_ir.node("DepthToSpace", blocks.outputs, {"blocksize": _TILE, "mode": "DCR"})
    )
    bounds = [_numbers(graph, [0, 0]), *size.outputs, _numbers(graph, [2, 3])]
    yield (cut := onnx_ir.node("Slice", [*image.outputs, *bounds]))
    if bias is not None:
        yield (offsets := reshaped(bias, [out, 1, 1]))
        yield onnx_ir.node("Add", [*cut.outputs, *offsets.outputs])


def _joined(*parts: onnx_ir.Value | onnx_ir.Node) -> onnx_ir.Node:
    """Return a shape put together of constants and of shapes that a run finds."""
    values = [one.outputs[0] if isinstance(one, onnx_ir.Node) else one for one in parts]
    return onnx_ir.node("Concat", values, {"axis": 0})


def _product(left: onnx_ir.Value, right: onnx_ir.Value, **transposed: int) -> onnx_ir.Node:
    """ONNX Runtime's product reads its factors as if they were transposed, without a copy."""
    return onnx_ir.node("FusedMatMul", [left, right], transposed, domain=RUNTIME_DOMAIN)


def _twice(basis: AnyArray) -> AnyArray:
    """Return a basis of both axes: (n, m) becomes (n * n, m * m), float32."""
    return np.kron(basis, basis).astype(np.float32)


def _numbers(graph: onnx_ir.Graph, numbers: Sequence[int]) -> onnx_ir.Value:
    """Return a list of whole numbers as a constant, one for all that need the same."""
    return _constant(graph, "_".join(map(str, numbers)), np.array(numbers, np.int64))


def _constant(graph: onnx_ir.Graph, name: str, array: AnyArray) -> onnx_ir.Value:
    return add_initializer(graph, f"winograd.{name}", array)
