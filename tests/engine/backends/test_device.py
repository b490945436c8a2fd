import logging

import pytest

from lineup.backends.device import (
    Device,
    DeviceKind,
    device_from_text,
    resolve_device,
)
from lineup.errors import DeviceUnavailableError, UsageError

USABLE = None
ABSENT = "no driver"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("auto", None),
        ("cpu", Device(DeviceKind.CPU)),
        ("cuda", Device(DeviceKind.CUDA, 0)),
        ("cuda:1", Device(DeviceKind.CUDA, 1)),
        ("TensorRT", Device(DeviceKind.TENSORRT, 0)),
        ("tensorrt:2", Device(DeviceKind.TENSORRT, 2)),
        ("tensorrt-rtx:1", Device(DeviceKind.TENSORRT_RTX, 1)),
        ("openvino", Device(DeviceKind.OPENVINO)),
        ("OpenVINO:GPU", Device(DeviceKind.OPENVINO_GPU)),
        ("openvino:bf16", Device(DeviceKind.OPENVINO, precision="bf16")),
        ("openvino:npu:f16", Device(DeviceKind.OPENVINO_NPU, precision="f16")),
    ],
)
def test_device_from_text(text, expected):
    assert device_from_text(text) == expected


@pytest.mark.parametrize(
    "device",
    [
        Device(DeviceKind.CPU),
        Device(DeviceKind.CUDA, 1),
        Device(DeviceKind.OPENVINO, precision="f32"),
        Device(DeviceKind.OPENVINO_NPU),
    ],
)
def test_what_a_device_is_called_asks_for_it(device):
    assert device_from_text(str(device)) == device


@pytest.mark.parametrize(
    "text",
    [
        "", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:f32", "cpu:0", "cpu:f32", "auto:1",
        "openvino:", "openvino:0", "openvino:tpu", "openvino:cpu:int8", "openvino:f32:cpu",
    ],
)  # fmt: skip
def test_device_from_text_refuses(text):
    with pytest.raises(UsageError, match="Unknown device"):
        device_from_text(text)


def test_auto_takes_cuda_when_it_works():
    assert resolve_device("auto", lambda device: USABLE) == Device(DeviceKind.CUDA)


def test_auto_takes_the_cpu_otherwise_and_says_why(caplog):
    with caplog.at_level(logging.INFO):
        device = resolve_device("auto", lambda device: ABSENT)

    assert device == Device(DeviceKind.CPU)
    assert "device auto: cpu (no driver)" in caplog.text


@pytest.mark.parametrize("text", ["cuda", "cuda:1", "tensorrt"])
def test_a_named_device_is_never_replaced(text):
    with pytest.raises(DeviceUnavailableError, match="no driver"):
        resolve_device(text, lambda device: ABSENT)


def test_the_cpu_is_probed_too():
    with pytest.raises(DeviceUnavailableError):
        resolve_device("cpu", lambda device: ABSENT)
