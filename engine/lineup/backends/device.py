"""Which device to run on: what the user may ask for, and what is really there.

ONNX Runtime built for GPUs lists CUDA as available on machines without one, and hands out a CPU
session when asked for it, without an exception. So usability is probed, never believed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from lineup.errors import DeviceUnavailableError, UsageError

logger = logging.getLogger(__name__)


class DeviceKind(str, Enum):
    """What executes the graphs; the value is the word used on the command line.

    `TENSORRT` is ONNX Runtime's provider, which compiles at the first run; `TENSORRT_NATIVE` and
    `TENSORRT_RTX` run engines that `lineup build` compiled.
    """

    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"
    TENSORRT_NATIVE = "tensorrt-native"
    TENSORRT_RTX = "tensorrt-rtx"


@dataclass(frozen=True, slots=True)
class Device:
    """One concrete device.

    Attributes:
        kind: What executes the graphs.
        index: Which GPU, counted from 0 in CUDA's order; 0 for the CPU.
    """

    kind: DeviceKind
    index: int = 0

    def __str__(self) -> str:
        return self.kind.value if self.kind is DeviceKind.CPU else f"{self.kind.value}:{self.index}"


Probe: TypeAlias = Callable[[Device], str | None]
"""Tells why a device cannot run a graph, in words for the user; None when it really can."""


def device_from_text(text: str) -> Device | None:
    """Parse `cpu`, `cuda`, `cuda:1`, `tensorrt`, `tensorrt-rtx:1`; None stands for `auto`.

    Raises:
        UsageError: The text is none of these.
    """
    name, _, suffix = text.strip().lower().partition(":")
    if name == "auto" and not suffix:
        return None
    has_good_suffix = suffix.isdecimal() and name != DeviceKind.CPU.value if ":" in text else True
    if name not in [kind.value for kind in DeviceKind] or not has_good_suffix:
        raise UsageError(
            f"Unknown device {text!r}.",
            hint="Use auto, cpu, cuda, tensorrt, tensorrt-native or tensorrt-rtx; a GPU but the "
            "first is chosen as in cuda:1.",
        )
    return Device(DeviceKind(name), int(suffix or 0))


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
