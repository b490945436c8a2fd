from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lineup.bundles.external import (
    external_locations,
    has_operator,
    operator_domains,
    structure_digest,
)
from lineup.errors import BundleFormatError


def test_locations_are_found(tmp_path: Path, build: Any) -> None:
    path = tmp_path / "g.onnx"
    path.write_bytes(build.graph_bytes(["weights/a", "../b"]))
    assert external_locations(path) == {"weights/a", "../b"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\x01\xff",
        b"not an ONNX file at all",
        b"\x3a\x7f\x00",  # a graph that is longer than the file
        b"\x3a\x02\x2a\x04\x00\x00\x00\x00",  # a tensor that is longer than its graph
        b"\x0b\x0c",  # groups, which ONNX has none of
        b"\x08" + b"\xff" * 11,  # an integer beyond 64 bits
        b"\x08\x80",  # an integer that does not end
        b"\xba\x80\x80\x80\x10\x00",  # the tag of a graph once it is cut to 32 bits
    ],
)
def test_what_is_no_protocol_buffer_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "g.onnx"
    path.write_bytes(data)
    with pytest.raises(BundleFormatError, match="not an ONNX graph"):
        external_locations(path)


def _external(onnx: Any, location: str) -> Any:
    tensor = onnx.TensorProto(
        name=location, data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL
    )
    tensor.external_data.add(key="offset", value="0")
    tensor.external_data.add(key="location", value=location)
    return tensor


def test_every_place_of_a_tensor_in_onnx_is_searched(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    inner = onnx.GraphProto(initializer=[_external(onnx, "subgraph")])
    sparse = onnx.SparseTensorProto(
        values=_external(onnx, "sparse_values"), indices=_external(onnx, "sparse_indices")
    )
    node = onnx.NodeProto(op_type="If")
    node.attribute.add(name="g", g=inner)
    node.attribute.add(name="graphs", graphs=[onnx.GraphProto(sparse_initializer=[sparse])])
    node.attribute.add(name="t", t=_external(onnx, "attribute"))
    node.attribute.add(name="tensors", tensors=[_external(onnx, "attributes")])
    body = onnx.NodeProto(op_type="Constant")
    body.attribute.add(name="value", t=_external(onnx, "function"))
    inline = onnx.TensorProto(name="w", data_type=1, dims=[3], float_data=[1.0, 2.0, 3.0])
    model = onnx.ModelProto(
        ir_version=8,
        graph=onnx.GraphProto(node=[node], initializer=[inline, _external(onnx, "top")]),
        functions=[onnx.FunctionProto(name="f", node=[body])],
        training_info=[
            onnx.TrainingInfoProto(
                algorithm=onnx.GraphProto(initializer=[_external(onnx, "train")])
            )
        ],
    )
    path = tmp_path / "g.onnx"
    path.write_bytes(model.SerializeToString())
    assert external_locations(path) == {
        "subgraph", "sparse_values", "sparse_indices", "attribute", "attributes", "function",
        "top", "train",
    }  # fmt: skip


def _graph_of(onnx: Any, weights: list[float], shape: list[int], location: str) -> bytes:
    helper = onnx.helper
    constants = [
        helper.make_tensor("small", onnx.TensorProto.FLOAT, [2], weights),
        helper.make_tensor("shape", onnx.TensorProto.INT64, [2], shape),
        _external(onnx, location),
    ]
    node = helper.make_node("Reshape", ["small", "shape"], ["y"])
    output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "g", [], [output], constants)
    graph.initializer[-1].name = "large"
    return bytes(helper.make_model(graph).SerializeToString())


def test_graphs_that_differ_in_weights_alone_have_one_structure(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "g.onnx"

    def digest(weights: list[float], shape: list[int], location: str) -> str:
        path.write_bytes(_graph_of(onnx, weights, shape, location))
        return structure_digest(path)

    base = digest([1.0, 2.0], [1, 2], "weights/a")
    assert digest([3.0, 4.0], [1, 2], "weights/b") == base
    assert digest([1.0, 2.0], [2, 1], "weights/a") != base


def test_operator_domains_are_found(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "g.onnx"
    sets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("com.microsoft", 1)]
    path.write_bytes(onnx.ModelProto(ir_version=9, opset_import=sets).SerializeToString())
    assert operator_domains(path) == {"", "com.microsoft"}


def test_operators_are_found_in_inner_graphs_too(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    helper, path = onnx.helper, tmp_path / "g.onnx"
    inner = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "inner", [], [])
    nodes = [helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner)]
    path.write_bytes(helper.make_model(helper.make_graph(nodes, "g", [], [])).SerializeToString())
    found = [has_operator(path, one) for one in ("If", "Relu", "Rel", "then_branch")]
    assert found == [True, True, False, False]


def test_operator_domains_of_what_is_no_graph_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "g.onnx"
    path.write_bytes(b"not an ONNX file at all")
    with pytest.raises(BundleFormatError, match="not an ONNX graph"):
        operator_domains(path)
