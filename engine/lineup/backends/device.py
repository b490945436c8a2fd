"""Which device to run on: what the user may ask for, and what is really there.

ONNX Runtime built for GPUs lists CUDA as available on machines without one, and hands out a CPU
session when asked for it, without an exception. So usability is probed, never believed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeAlias

from lineup.errors import DeviceUnavailableError, UsageError

logger = logging.getLogger(__name__)


class DeviceKind(str, Enum):
    """What executes the graphs; the value is the word used on the command line.

    `TENSORRT` is ONNX Runtime's provider, which compiles at the first run; `TENSORRT_NATIVE` and
    `TENSORRT_RTX` run engines that `lineup build` compiled. OpenVINO's own device is the processor.
    """

    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"
    TENSORRT_NATIVE = "tensorrt-native"
    TENSORRT_RTX = "tensorrt-rtx"
    OPENVINO = "openvino:cpu"
    OPENVINO_GPU = "openvino:gpu"
    OPENVINO_NPU = "openvino:npu"


OPENVINO_KINDS = {DeviceKind.OPENVINO, DeviceKind.OPENVINO_GPU, DeviceKind.OPENVINO_NPU}

_GPU_TEXT = re.compile(r"(cuda|tensorrt(?:-native|-rtx)?)(?::(\d+))?")
_OPENVINO_TEXT = re.compile(r"openvino(:[cgn]pu)?(?::(bf16|f32|f16))?")


@dataclass(frozen=True, slots=True)
class Device:
    """One concrete device.

    Attributes:
        kind: What executes the graphs.
        index: Which GPU, counted from 0 in CUDA's order; 0 for the CPU and OpenVINO.
        precision: "bf16", "f32" or "f16" for OpenVINO; empty takes what suits the device.
    """

    kind: DeviceKind
    index: int = 0
    precision: str = ""

    @property
    def on_cpu(self) -> bool:
        """Whether the processor computes."""
        return self.kind in {DeviceKind.CPU, DeviceKind.OPENVINO}

    @property
    def in_f32(self) -> Device:
        """The device for numbers that are compared with stored ones."""
        return replace(self, precision="f32") if self.kind in OPENVINO_KINDS else self

    @property
    def reduced_precision(self) -> str:
        """What the device computes in where that is less than f32, so that its results differ."""
        return "" if self.precision == "f32" else self.precision

    def __str__(self) -> str:
        if self.kind in OPENVINO_KINDS:
            return f"{self.kind.value}:{self.precision}".rstrip(":")
        return self.kind.value if self.kind is DeviceKind.CPU else f"{self.kind.value}:{self.index}"


Probe: TypeAlias = Callable[[Device], str | None]
"""Tells why a device cannot run a graph, in words for the user; None when it really can."""


def device_from_text(text: str) -> Device | None:
    """Parse `cpu`, `cuda:1`, `tensorrt`, `openvino`, `openvino:gpu:f32`; None stands for `auto`.

    Raises:
        UsageError: The text is none of these.
    """
    asked = text.strip().lower()
    if asked == "auto":
        return None
    if asked == DeviceKind.CPU.value:
        return Device(DeviceKind.CPU)
    if gpu := _GPU_TEXT.fullmatch(asked):
        return Device(DeviceKind(gpu[1]), int(gpu[2] or 0))
    if openvino := _OPENVINO_TEXT.fullmatch(asked):
        return Device(DeviceKind(f"openvino{openvino[1] or ':cpu'}"), precision=openvino[2] or "")
    raise UsageError(
        f"Unknown device {text!r}.",
        hint="Use auto, cpu, cuda, tensorrt, tensorrt-native, tensorrt-rtx, openvino, openvino:gpu "
        "or openvino:npu; a GPU but the first is chosen as in cuda:1, a precision of OpenVINO as "
        "in openvino:cpu:f32.",
    )


def resolve_device(text: str, probe: Probe) -> Device:
    """Turn what the user asked for into a device that really works.

    `auto` takes the first GPU that CUDA can use, else the CPU, and logs which. TensorRT is never
    chosen by `auto`, because it compiles for minutes before the first result.

    Raises:
        UsageError: The text names no device.
        DeviceUnavailableError: A device was asked for by name and is not usable.
    """
    device = device_from_text(text)
    if device is not None:
        problem = probe(device)
        if problem is not None:
            raise DeviceUnavailableError(
                f"Device {device} was asked for, but it is not usable here: {problem}",
                hint="Use --device cpu or --device auto, or see what `lineup doctor` finds.",
            )
        return device
    cuda = Device(DeviceKind.CUDA)
    problem = probe(cuda)
    chosen = cuda if problem is None else Device(DeviceKind.CPU)
    logger.info("device auto: %s%s", chosen, "" if problem is None else f" ({problem})")
    return chosen
