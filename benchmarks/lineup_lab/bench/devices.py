"""Which device is fastest on this machine: every graph of a bundle on each, and the result kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from lineup.backends.device import Device
from lineup.backends.measured import Measured, fastest_device, keep_measured
from lineup.backends.opening import usable_devices
from lineup.bundles.bundle import Bundle
from lineup.bundles.manifest import BundleKind
from lineup.errors import BackendError, BundleNotFoundError
from lineup.lineups.store import open_lineup
from lineup.planning.costs import references
from lineup.planning.measuring import MeasuredGraph, graphs_on_device, measured_from_graphs
from lineup.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Comparison:
    """A bundle on every device of this machine.

    Attributes:
        bundle: Its name.
        graphs: By device and role.
        measured: What was kept of each device.
        failed: What kept a device from being measured.
        auto: What `--device auto` takes on this machine where no GPU is.
    """

    bundle: str
    graphs: dict[Device, dict[str, MeasuredGraph]]
    measured: dict[Device, Measured]
    failed: dict[Device, str]
    auto: Device

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "bundle": self.bundle,
            "devices": {
                str(device): {
                    "release": one.release,
                    "load_ms": one.load_ms,
                    "item_ms": one.item_ms,
                    "graphs": {role: asdict(its) for role, its in self.graphs[device].items()},
                }
                for device, one in self.measured.items()
            },
            "failed": {str(device): why for device, why in self.failed.items()},
            "auto": str(self.auto),
        }


def compared_devices(
    target: str, *, threads: int = 0, on_graph: Callable[[str], None] = lambda _: None
) -> Iterator[Comparison]:
    """Measure a bundle, or every bundle of a lineup, on each usable device; yield as each is done.

    Raises:
        LineupError: The target cannot be used, or what was measured cannot be kept.
    """
    runtime = Runtime("cpu", threads=threads)
    try:
        bundles = [runtime.bundle(target)]
    except BundleNotFoundError:
        found = [runtime.bundle(one) for one in references(open_lineup(target))]
        bundles = list({one.digest: one for one in found}.values())
    devices = usable_devices()
    for bundle in bundles:
        yield _compared(bundle, devices, threads, on_graph)


def _compared(
    bundle: Bundle, devices: list[Device], threads: int, on_graph: Callable[[str], None]
) -> Comparison:
    graphs: dict[Device, dict[str, MeasuredGraph]] = {}
    failed: dict[Device, str] = {}
    if bundle.manifest.kind is BundleKind.FINGERPRINT:
        devices = [one for one in devices if not one.reduced_precision]
    for device in devices:
        found: dict[str, MeasuredGraph] = {}
        try:
            for role, one in graphs_on_device(bundle.path, device, threads=threads):
                found[role] = one
                on_graph(f"{bundle.manifest.name}: {role} on {device}")
        except BackendError as error:
            failed[device] = error.message
        else:
            graphs[device] = found
    measured = {one: measured_from_graphs(bundle, one, found) for one, found in graphs.items()}
    keep_measured(bundle, measured)
    return Comparison(bundle.manifest.name, graphs, measured, failed, fastest_device(bundle))
