"""What bundles cost on this machine, device by device: measured once, kept under the home folder.

A file holds one bundle on one machine, for homes are shared and bundles travel. Figures of another
release of what computes do not count.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import onnxruntime as ort

from lineup.backends.device import OPENVINO_KINDS, Device, DeviceKind, device_from_text
from lineup.bundles.bundle import Bundle
from lineup.bundles.info import Number
from lineup.bundles.manifest import GraphCost
from lineup.documents import DocumentFormat
from lineup.errors import BackendError, UsageError
from lineup.machine import machine_digest, usable_cores
from lineup.paths import home_dir

logger = logging.getLogger(__name__)

ITEMS = 10
"""Items of work in which a device has to earn what loading takes there."""

_NAME_DIGITS = 20


@dataclass(frozen=True, slots=True)
class Measured:
    """What a bundle costs on one device.

    Attributes:
        release: Version of what computes there.
        load_ms: Loading what an item needs, as a new process does.
        item_ms: One caption, picture, feature or fingerprint.
        graphs: Every graph of the bundle.
    """

    release: str
    load_ms: Number
    item_ms: Number
    graphs: dict[str, GraphCost]

    @property
    def ms(self) -> float:
        """Time of `ITEMS` items in a new process."""
        return self.load_ms + ITEMS * self.item_ms


@dataclass(frozen=True, slots=True)
class _Record:
    bundle: str
    devices: dict[str, Measured] = field(default_factory=dict)


_FORMAT = DocumentFormat(
    kind=_Record, error=BackendError, hint="Measure again: lineup bench NAME --compare-devices"
)


def release_of(device: Device) -> str:
    """Return the version of what computes on a device; empty where it is not installed."""
    if device.kind not in OPENVINO_KINDS:
        return str(ort.__version__)
    # Reading installed packages takes a parser of mail: 40 ms and 2 MiB, where nothing is measured.
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    try:
        return version("openvino")
    except PackageNotFoundError:
        return ""


def measured_on(bundle: Bundle) -> dict[Device, Measured]:
    """Return what was measured of a bundle on this machine, by device; unreadable is unmeasured."""
    try:
        record = _FORMAT.read(_path(bundle))
        found = {device_from_text(name): one for name, one in record.devices.items()}
    except (BackendError, UsageError):
        return {}
    return {
        device: one
        for device, one in found.items()
        if device is not None
        and one.release == release_of(device)
        and one.graphs.keys() == bundle.manifest.graphs.keys()
    }


def keep_measured(bundle: Bundle, measured: Mapping[Device, Measured]) -> None:
    """Keep what was measured of a bundle, beside what is known of other devices.

    Raises:
        BackendError: It cannot be written.
    """
    known = {str(device): one for device, one in {**measured_on(bundle), **measured}.items()}
    _FORMAT.write(_path(bundle), _Record(bundle.manifest.name, known))


def fastest_device(bundle: Bundle) -> Device:
    """Return where a bundle that runs on the CPU is fastest by record, and log why.

    That is ONNX Runtime where nothing else was measured. Devices that compute in less than f32 are
    left out: what an image is judged to be must not depend on what was measured.
    """
    name, cpu = bundle.manifest.name, Device(DeviceKind.CPU)
    found = {one: its.ms for one, its in measured_on(bundle).items() if not one.reduced_precision}
    if len(found) < 2 or cpu not in found:
        logger.info("device auto: %s on cpu (`lineup bench %s --compare-devices`)", name, name)
        return cpu
    chosen = min(found, key=lambda one: found[one])
    told = ", ".join(f"{one} {ms / 1e3:.2f} s" for one, ms in found.items())
    logger.info("device auto: %s on %s, by record (%d items: %s)", name, chosen, ITEMS, told)
    return chosen


def _path(bundle: Bundle) -> Path:
    return home_dir() / "measured" / _machine() / f"{bundle.digest[:_NAME_DIGITS]}.json"


@cache
def _machine() -> str:
    """Return a digest of what speed depends on: instructions and usable cores."""
    return machine_digest(usable_cores())
