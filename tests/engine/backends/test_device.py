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
    ],
)
def test_device_from_text(text, expected):
    assert device_from_text(text) == expected


@pytest.mark.parametrize("text", ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "auto:1"])
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
