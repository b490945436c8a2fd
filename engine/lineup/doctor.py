"""What this machine offers to lineup, as a block to read or to paste into a report."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lineup._version import __version__
from lineup.backends.device import Device, DeviceKind
from lineup.backends.graph_cache import graph_cache
from lineup.backends.opening import probe
from lineup.errors import LineupError
from lineup.gallery.opening import open_gallery
from lineup.machine import usable_cores
from lineup.paths import home_dir
from lineup.reference import open_reference_encoder
from lineup.runtime import REFERENCE_BUNDLE, Runtime

_PACKAGES = (
    "onnxruntime-gpu",
    "onnxruntime",
    "tensorrt",
    "tensorrt-rtx",
    "openvino",
    "numpy",
    "opencv-python-headless",
    "pillow",
    "c2pa-python",
    "pi-heif",
    "simplejpeg",
    "torch",
)
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """One device of `--device`.

    Attributes:
        name: The word to ask for it with.
        usable: Whether a graph really ran a session there.
        reason: Why not; empty when usable.
    """

    name: str
    usable: bool
    reason: str


@dataclass(frozen=True, slots=True)
class FolderReport:
    """The folder of bundles and enrolments.

    Attributes:
        path: Where it is, or would be.
        exists: Whether it is there; it is made on first use.
        writable: Whether it, or its nearest existing parent, may be written.
        free_mib: Free space on its disk.
    """

    path: str
    exists: bool
    writable: bool
    free_mib: int


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """Everything `lineup doctor` finds.

    Attributes:
        lineup: Version.
        python: Version.
        system: Operating system and processor architecture.
        processor: Name of the processor or board, as far as the system tells.
        cores: Cores this process may use.
        memory_total_mib: Installed memory; None where the system does not tell.
        memory_available_mib: Memory free for new work; None where the system does not tell.
        packages: Version per installed package that matters here.
        gpus: What the NVIDIA driver lists: "name, memory, driver".
        devices: Which devices are usable, and why not.
        home: The folder of bundles and enrolments.
        compiled: What `lineup build` made: "bundle graph: backend release for machine".
        bundles: Name of each bundle, and "ok" or what is wrong with it.
        gallery: Sources and images of the default gallery, or what is wrong with it.
        ok: False when a bundle or the gallery cannot be used.
    """

    lineup: str
    python: str
    system: str
    processor: str
    cores: int
    memory_total_mib: int | None
    memory_available_mib: int | None
    packages: dict[str, str]
    gpus: list[str]
    devices: tuple[DeviceReport, ...]
    home: FolderReport
    compiled: tuple[str, ...]
    bundles: dict[str, str]
    gallery: str
    ok: bool


def examine() -> DoctorReport:
    """Look at the machine; takes a second or two, as every device is really tried."""
    bundles = _bundle_states()
    gallery, gallery_ok = _gallery_state()
    return DoctorReport(
        **environment(),
        memory_available_mib=_memory_mib().get("MemAvailable"),
        devices=tuple(_device_report(kind) for kind in DeviceKind),
        home=_folder_report(home_dir()),
        compiled=tuple(_compiled()),
        bundles=bundles,
        gallery=gallery,
        ok=gallery_ok and all(state == "ok" for state in bundles.values()),
    )


def environment() -> dict[str, Any]:
    """Return what a measurement depends on, as JSON values; tries no device."""
    return {
        "lineup": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor_name(),
        "cores": usable_cores(),
        "memory_total_mib": _memory_mib().get("MemTotal"),
        "packages": _package_versions(),
        "gpus": _gpus(),
    }


def _device_report(kind: DeviceKind) -> DeviceReport:
    problem = probe(Device(kind))
    return DeviceReport(name=kind.value, usable=problem is None, reason=problem or "")


def _compiled() -> Iterator[str]:
    for one in graph_cache().list():
        key = one.key
        yield f"{one.bundle} {one.role}: {key.backend} {key.release} for {key.machine}"


def _bundle_states() -> dict[str, str]:
    runtime = Runtime()
    states = {}
    for listed in runtime.store.list():
        try:
            runtime.store.open(listed.name)
            if listed.name == REFERENCE_BUNDLE and (encoder := open_reference_encoder(runtime)):
                encoder.close()
        except LineupError as error:
            states[listed.name] = error.message
        else:
            states[listed.name] = "ok"
    return states


def _gallery_state() -> tuple[str, bool]:
    try:
        gallery = open_gallery(None)
    except LineupError as error:
        return error.message, False
    images = sum(len(support) for support in gallery.sources.values())
    return f"{len(gallery.sources)} sources, {images} images", True


def _package_versions() -> dict[str, str]:
    versions = {}
    for name in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _gpus() -> list[str]:
    """Ask NVIDIA's own tool; absent or failing, there is nothing to list."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = "--query-gpu=name,memory.total,driver_version"
    try:
        done = subprocess.run(  # noqa: S603 - the arguments are constants
            [tool, query, "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def _memory_mib() -> dict[str, int]:
    """Read Linux's /proc/meminfo ("MemTotal:  24 kB"); empty on other systems."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    fields = (line.split() for line in lines)
    return {field[0].rstrip(":"): int(field[1]) * 1024 // _MIB for field in fields}


def _processor_name() -> str:
    """Return a board's name (Jetson), else the processor's."""
    for path, prefix in (("/proc/device-tree/model", ""), ("/proc/cpuinfo", "model name")):
        try:
            text = Path(path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        for line in text.splitlines():
            if line.startswith(prefix):
                return line.partition(":")[2].strip() if prefix else line.strip("\0")
    return platform.processor() or sys.platform


def _folder_report(path: Path) -> FolderReport:
    # Of os.path, which takes what may not be looked at for absent.
    parents = (path, *path.parents)
    nearest = next(one for one in parents if os.path.lexists(one))
    folder = next(one for one in parents if os.path.isdir(one))  # noqa: PTH112
    return FolderReport(
        path=str(path),
        exists=folder == path,
        writable=folder == nearest and os.access(folder, os.W_OK),
        free_mib=shutil.disk_usage(folder).free // _MIB,
    )
