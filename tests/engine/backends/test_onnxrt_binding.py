"""Bound sessions, with the memory of the host in the place of a GPU's: ONNX Runtime runs for real.

What a CPU cannot show is that CUDA graphs replay; which runs are recorded, and from which buffers,
is the same code.
"""

from typing import ClassVar

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from lineup.backends import onnxrt
from lineup.backends.device import Device, DeviceKind
from lineup.backends.onnxrt import RuntimeOptions, providers_from_device, runner_from_onnx
from lineup.backends.onnxrt_runners import (
    RECORDED_SHAPES,
    BoundRunner,
    DeviceMemory,
    OrtDeviceArray,
)
from lineup.errors import BackendError

CUDA = Device(DeviceKind.CUDA)


def opened(graph):
    return ort.InferenceSession(graph, providers=["CPUExecutionProvider"])


@pytest.fixture
def memory():
    return DeviceMemory("cpu", 0, lambda: opened(onnxrt._ROWS_GRAPH))


@pytest.fixture
def graph():
    """sums = a + b, products = a * b; float32 [rows, 2]."""
    nodes = [
        helper.make_node("Add", ["a", "b"], ["sums"]),
        helper.make_node("Mul", ["a", "b"], ["products"]),
    ]
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 2])
        for name in ("a", "b", "sums", "products")
    }
    body = helper.make_graph(
        nodes, "both", [values["a"], values["b"]], [values["sums"], values["products"]]
    )
    imports = [helper.make_opsetid("", 17)]
    model = helper.make_model(body, opset_imports=imports, ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


class RecordingSession:
    """A session that notes how it was run."""

    def __init__(self, graph):
        self._session = opened(graph)
        self.graph_ids = []
        self.fails_with_graphs = False

    def get_inputs(self):
        return self._session.get_inputs()

    def get_outputs(self):
        return self._session.get_outputs()

    def io_binding(self):
        return self._session.io_binding()

    def run_with_iobinding(self, binding, options):
        try:
            graph_id = options.get_run_config_entry("gpu_graph_id")
        except Exception:  # onnxruntime raises when there is none
            graph_id = None
        self.graph_ids.append(graph_id)
        if self.fails_with_graphs and graph_id not in {None, "-1"}:
            raise RuntimeError("capture failed")
        self._session.run_with_iobinding(binding, options)


def feeds(rows, seed=0):
    random = np.random.default_rng(seed)
    return {name: random.standard_normal((rows, 2), np.float32) for name in ("a", "b")}


def check(outputs, fed):
    np.testing.assert_array_equal(outputs["sums"], fed["a"] + fed["b"])
    np.testing.assert_array_equal(outputs["products"], fed["a"] * fed["b"])


def test_resident_outputs_feed_the_next_run_without_the_host(graph, memory):
    first, second = feeds(3), feeds(3, seed=1)
    with BoundRunner(opened(graph), memory, records=False) as runner:
        kept = runner.run_resident(first, ("sums",))
        outputs = runner.run({"a": kept["sums"], "b": second["b"]})

    assert isinstance(kept["sums"], OrtDeviceArray)
    assert kept["sums"].shape == (3, 2)
    assert isinstance(kept["products"], np.ndarray)
    check(outputs, {"a": first["a"] + first["b"], "b": second["b"]})


def test_rows_are_taken_on_the_device(graph, memory):
    fed = feeds(3)
    with BoundRunner(opened(graph), memory, records=False) as runner:
        kept = runner.run_resident(fed, ("sums",))["sums"]
        taken = kept.take_rows(np.array([2, 0, 0, 1]))

    assert isinstance(taken, OrtDeviceArray)
    np.testing.assert_array_equal(taken.to_host(), (fed["a"] + fed["b"])[[2, 0, 0, 1]])


def test_rows_that_are_not_there_are_an_error_of_the_backend(graph, memory):
    with BoundRunner(opened(graph), memory, records=False) as runner:
        kept = runner.run_resident(feeds(3), ("sums",))["sums"]
        with pytest.raises(BackendError, match="failed to run"):
            kept.take_rows(np.array([3]))


def test_what_lies_on_a_device_is_checked_like_an_array(graph, memory):
    with BoundRunner(opened(graph), memory, records=False) as runner:
        kept = runner.run_resident(feeds(3), ("sums",))["sums"]
        with pytest.raises(BackendError, match=r"takes the shape \['rows', 2\]"):
            runner.run({"a": kept, "b": np.zeros((2, 2), np.float32)})


def test_shapes_that_come_back_are_recorded(graph, memory):
    session = RecordingSession(graph)
    runner = BoundRunner(session, memory, records=True)
    fed = [feeds(3, seed) for seed in range(3)]

    outputs = [runner.run(one) for one in fed]

    assert session.graph_ids == ["-1", "1", "1"]
    for found, given in zip(outputs, fed, strict=True):  # a replay leaves earlier results alone
        check(found, given)


def test_every_set_of_shapes_has_a_recording_of_its_own(graph, memory):
    session = RecordingSession(graph)
    runner = BoundRunner(session, memory, records=True)

    for rows in (1, 2, 1, 2, 1):
        fed = feeds(rows, seed=rows)
        check(runner.run(fed), fed)

    assert session.graph_ids == ["-1", "-1", "1", "2", "1"]


def test_recordings_are_limited(graph, memory):
    session = RecordingSession(graph)
    runner = BoundRunner(session, memory, records=True)

    for rows in range(1, RECORDED_SHAPES + 2):
        for _ in range(2):
            runner.run(feeds(rows))

    assert session.graph_ids[-2:] == ["-1", "-1"]
    assert session.graph_ids[-3] == str(RECORDED_SHAPES)


def test_runs_that_keep_something_on_the_device_are_not_recorded(graph, memory):
    session = RecordingSession(graph)
    runner = BoundRunner(session, memory, records=True)

    for _ in range(3):
        kept = runner.run_resident(feeds(3), ("sums",))
        runner.run({"a": kept["sums"], "b": feeds(3)["b"]})

    assert set(session.graph_ids) == {"-1"}


def test_a_recording_that_fails_ends_recording_not_the_run(graph, memory, caplog):
    session = RecordingSession(graph)
    session.fails_with_graphs = True
    runner = BoundRunner(session, memory, records=True)
    fed = [feeds(3, seed) for seed in range(3)]

    for one in fed:
        check(runner.run(one), one)

    assert session.graph_ids == ["-1", "1", None, None]
    assert "CUDA graphs are left alone" in caplog.text


def test_a_closed_runner_says_so(graph, memory):
    runner = BoundRunner(opened(graph), memory, records=True)
    runner.close()

    with pytest.raises(BackendError, match="closed"):
        runner.run(feeds(3))


class GpuSession:
    """A session of a machine with a GPU, as far as loading goes."""

    made: ClassVar[list[dict[str, str]]] = []
    refuses_graphs = False

    def __init__(self, model, options, providers, **kwargs):
        given = dict(providers)["CUDAExecutionProvider"]
        GpuSession.made.append(given)
        if self.refuses_graphs and "enable_cuda_graph" in given:
            raise RuntimeError("This session cannot use the CUDA Graph feature")

    def get_providers(self):
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def get_inputs(self):
        return []

    def get_outputs(self):
        return []


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    monkeypatch.setattr(ort, "InferenceSession", GpuSession)
    monkeypatch.setattr(ort, "preload_dlls", lambda: None, raising=False)
    monkeypatch.setattr(GpuSession, "made", [])
    return tmp_path / "graph.onnx"


def test_gpu_sessions_are_made_for_cuda_graphs(gpu):
    runner = runner_from_onnx(gpu, CUDA)

    assert isinstance(runner, BoundRunner)
    assert runner._records
    assert [one["enable_cuda_graph"] for one in GpuSession.made] == ["1"]


def test_a_graph_that_cannot_be_recorded_is_loaded_again_without(gpu, monkeypatch):
    monkeypatch.setattr(GpuSession, "refuses_graphs", True)

    runner = runner_from_onnx(gpu, CUDA)

    assert not runner._records
    assert ["enable_cuda_graph" in one for one in GpuSession.made] == [True, False]


def test_tensorrt_leaves_cuda_graphs_alone_and_shares_scratch():
    options = dict(providers_from_device(Device(DeviceKind.TENSORRT), RuntimeOptions()))

    assert "enable_cuda_graph" not in options["CUDAExecutionProvider"]
    assert options["TensorrtExecutionProvider"]["trt_context_memory_sharing_enable"] == "1"
