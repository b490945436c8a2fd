from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper, save_model

from lineup.files import sha256_from_file
from lineup.paths import shipped_dir
from lineup.types import Float32Array
from lineup_export import external
from lineup_export.external import PAGE_BYTES, WeightFiles

LENGTH = 300


@pytest.fixture(autouse=True)
def _weights_in_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external, "INLINE_GRAPH_BYTES", 0)


def model_from(**constants: Float32Array) -> onnx_ir.Model:
    """A graph that adds constants to its input."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [LENGTH]) for name in ("x", "y")]
    values = ["x", *(f"sum_{name}" for name in constants)]
    values[-1] = "y"
    nodes = [
        helper.make_node("Add", [before, name], [after])
        for before, name, after in zip(values, constants, values[1:], strict=False)
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], tensors)
    opsets = [helper.make_opsetid("", 18)]
    return onnx_ir.from_proto(helper.make_model(graph, opset_imports=opsets, ir_version=8))


def constant(value: float) -> Float32Array:
    return np.full(LENGTH, value, np.float32)


def computed(model: onnx_ir.Model, folder: Path) -> float:
    save_model(onnx_ir.to_proto(model), folder / "graph.onnx")
    session = onnxruntime.InferenceSession(folder / "graph.onnx")
    (found,) = session.run(None, {"x": constant(0)})
    assert (found == found[0]).all()
    return float(found[0])


def offsets(model: onnx_ir.Model) -> dict[str, tuple[str, int]]:
    tensors = {name: value.const_value for name, value in model.graph.initializers.items()}
    return {
        name: (str(tensor.location), int(tensor.offset or 0))
        for name, tensor in tensors.items()
        if isinstance(tensor, onnx_ir.ExternalTensor)
    }


def test_a_graph_has_one_file_and_its_tensors_begin_at_pages(tmp_path: Path) -> None:
    model = model_from(a=constant(1), b=constant(2), again=constant(1))

    files = WeightFiles(tmp_path).stream(model)

    ((location, path),) = files.items()
    assert location == f"weights/sha256-{sha256_from_file(path)}"
    assert offsets(model) == {
        "a": (location, 0),
        "b": (location, PAGE_BYTES),
        "again": (location, 0),
    }
    assert path.stat().st_size == PAGE_BYTES + 4 * LENGTH
    assert computed(model, tmp_path) == 4


def test_a_graph_refers_to_what_the_one_before_it_has_written(tmp_path: Path) -> None:
    files = WeightFiles(tmp_path)
    first, second = model_from(a=constant(1)), model_from(a=constant(1), b=constant(2))

    before, after = files.stream(first), files.stream(second)

    assert set(before) < set(after)
    assert [path.stat().st_size for path in after.values()] == [4 * LENGTH, 4 * LENGTH]
    assert (computed(first, tmp_path), computed(second, tmp_path)) == (1, 3)
    assert WeightFiles(tmp_path).stream(model_from(c=constant(1))).keys() == before.keys()


def test_a_graph_may_share_weights_that_a_bundle_holds_already(tmp_path: Path) -> None:
    files = WeightFiles(tmp_path)
    (held,) = files.stream(model_from(a=constant(1))).values()
    (tmp_path / "bundle").hardlink_to(held)
    second = model_from(a=constant(1), b=constant(2))

    files.stream(second)

    path = tmp_path / "second.onnx"
    path.write_bytes(onnx_ir.to_proto(second).SerializeToString())
    onnx.checker.check_model(str(path))
    assert held.read_bytes() == (tmp_path / "bundle").read_bytes()


def test_a_graph_without_large_constants_has_no_file(tmp_path: Path) -> None:
    model = model_from(a=constant(1)[:1])

    assert WeightFiles(tmp_path).stream(model) == {}
    assert not list(tmp_path.glob("weights/*"))
    assert computed(model, tmp_path) == 1


def test_what_ships_is_dozens_of_files() -> None:
    assert sum(path.is_file() for path in shipped_dir().rglob("*")) <= 80
