import sys

import numpy as np
import onnxruntime as ort
import pytest

from lineup import machine
from lineup.backends import onnxrt
from lineup.backends.device import Device, DeviceKind
from lineup.backends.onnxrt import (
    RuntimeOptions,
    probe_device,
    providers_from_device,
    runner_from_onnx,
    session_options_from,
)
from lineup.errors import BackendError, DeviceUnavailableError

CPU = Device(DeviceKind.CPU)
CUDA = Device(DeviceKind.CUDA, 1)
TENSORRT = Device(DeviceKind.TENSORRT, 1)


@pytest.fixture
def identity(tmp_path):
    """y = x, float32 [1]."""
    path = tmp_path / "identity.onnx"
    path.write_bytes(onnxrt.IDENTITY_GRAPH)
    return path


class CpuOnlySession:
    """What onnxruntime-gpu hands out on a machine without a GPU, whatever was asked for."""

    def __init__(self, model, options, providers, **kwargs):
        print("*** EP Error ***")

    def get_providers(self):
        return ["CPUExecutionProvider"]


@pytest.fixture
def gpu_build_without_gpu(monkeypatch):
    names = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(ort, "get_available_providers", lambda: names)
    monkeypatch.setattr(ort, "InferenceSession", CpuOnlySession)
    monkeypatch.setattr(ort, "preload_dlls", lambda: None, raising=False)


def test_on_the_cpu_nothing_takes_stdout_away(identity, monkeypatch):
    """Graphs are loaded in other threads, while this one writes results."""
    seen = []
    create = ort.InferenceSession
    monkeypatch.setattr(
        ort, "InferenceSession", lambda *args, **kw: seen.append(sys.stdout) or create(*args, **kw)
    )
    runner_from_onnx(identity, CPU).close()
    assert seen == [sys.stdout]


def test_runs_a_graph(identity):
    with runner_from_onnx(identity, CPU) as runner:
        outputs = runner.run({"x": np.array([3], np.float32)})

    assert outputs["y"].tolist() == [3]


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, r"takes the inputs \['x'\], but was fed \[\]"),
        ({"z": np.zeros(1, np.float32)}, "but was fed"),
        ({"x": np.zeros(1, np.float64)}, "takes float32, but was fed float64"),
        ({"x": np.zeros(2, np.float32)}, r"shape \[1\], but was fed \[2\]"),
        ({"x": np.zeros((1, 1), np.float32)}, r"but was fed \[1, 1\]"),
    ],
)
def test_refuses_what_the_graph_does_not_take(identity, feeds, message):
    with runner_from_onnx(identity, CPU) as runner, pytest.raises(BackendError, match=message):
        runner.run(feeds)


def test_a_closed_runner_says_so(identity):
    runner = runner_from_onnx(identity, CPU)
    runner.close()

    with pytest.raises(BackendError, match="closed"):
        runner.run({"x": np.zeros(1, np.float32)})


def test_an_unreadable_graph_is_named(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a graph")

    with pytest.raises(BackendError, match=r"broken\.onnx"):
        runner_from_onnx(path, CPU)


def test_the_cpu_is_usable():
    assert probe_device(CPU) is None


@pytest.mark.usefixtures("gpu_build_without_gpu")
@pytest.mark.parametrize("kind", [DeviceKind.CUDA, DeviceKind.TENSORRT])
def test_a_provider_that_is_listed_but_does_not_start_is_not_usable(kind, capsys):
    problem = probe_device(Device(kind))

    assert problem is not None
    assert "did not start" in problem
    assert capsys.readouterr().out == ""  # stdout belongs to results


@pytest.mark.usefixtures("gpu_build_without_gpu")
def test_a_session_that_came_back_on_the_cpu_is_an_error(identity):
    with pytest.raises(DeviceUnavailableError, match="CPUExecutionProvider"):
        runner_from_onnx(identity, CUDA)


def test_a_provider_that_was_not_built_in_is_named(monkeypatch):
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])

    assert "CUDAExecutionProvider" in probe_device(CUDA)


def test_providers_of_the_cpu():
    assert providers_from_device(CPU) == [("CPUExecutionProvider", {})]


def test_providers_of_a_gpu(tmp_path):
    names = [
        name for name, _ in providers_from_device(TENSORRT, RuntimeOptions(cache_dir=tmp_path))
    ]
    options = dict(providers_from_device(TENSORRT, RuntimeOptions(cache_dir=tmp_path)))

    assert names == ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    assert options["TensorrtExecutionProvider"]["trt_engine_cache_path"] == str(tmp_path)
    assert options["CUDAExecutionProvider"]["device_id"] == "1"
    assert options["CUDAExecutionProvider"]["use_tf32"] == "0"


def test_cpu_sessions_map_weights_and_keep_no_arena():
    settings = session_options_from(RuntimeOptions(threads=3), CPU)

    assert settings.intra_op_num_threads == 3
    assert settings.enable_cpu_mem_arena is False
    assert settings.enable_mem_reuse is False
    assert settings.get_session_config_entry("session.disable_prepacking") == "1"


@pytest.mark.parametrize(
    ("processor", "features", "exact"),
    [
        ("x86_64", "avx2 avx512f avx512_vnni", True),
        ("AMD64", "avx2 avx_vnni", True),
        ("x86_64", "avx2 avx512f", False),
        ("AMD64", "Intel64 Family 6 Model 94", False),
        ("aarch64", "asimd", True),
    ],
)
def test_products_of_bytes_saturate_on_no_processor(monkeypatch, processor, features, exact):
    monkeypatch.setattr(machine, "processor_features", lambda: features)
    monkeypatch.setattr(machine.platform, "machine", lambda: processor)

    settings = session_options_from(RuntimeOptions(), CPU)

    if exact:
        with pytest.raises(RuntimeError, match="x64quantprecision"):
            settings.get_session_config_entry("session.x64quantprecision")
    else:
        assert settings.get_session_config_entry("session.x64quantprecision") == "1"


@pytest.mark.gpu
def test_cuda_runs_a_graph(identity):
    device = Device(DeviceKind.CUDA)
    problem = probe_device(device)
    if problem is not None:
        pytest.skip(f"no CUDA device: {problem}")

    with runner_from_onnx(identity, device) as runner:
        assert runner.run({"x": np.array([3], np.float32)})["y"].tolist() == [3]
