"""Where bundles are kept and where models run: made once for a command, an engine, a benchmark."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from lineup.backends.device import Device, DeviceKind, device_from_text
from lineup.backends.measured import fastest_device
from lineup.backends.onnxrt import RuntimeOptions
from lineup.backends.opening import options_for_device
from lineup.bundles.bundle import Bundle, read_bundle
from lineup.bundles.manifest import BundleKind
from lineup.bundles.store import BundleStore
from lineup.errors import BundleNotFoundError
from lineup.paths import home_dir

Model = TypeVar("Model")

REFERENCE_BUNDLE = "clip-vit-b-16"
"""The encoder of the reference evidence, where it is there; `lineup models pull` fetches it."""


class Runtime:
    """Opens bundles and models; a bundle is verified when it is first opened, once.

    Args:
        device: See `lineup.backends.device.device_from_text`.
        threads: Threads on the CPU; 0 takes every core.

    Attributes:
        store: The bundles of this machine.
    """

    def __init__(self, device: str = "auto", *, threads: int = 0) -> None:
        self.store = BundleStore(home_dir())
        self._asked = (device, threads)
        self._bundles: dict[Path, Bundle] = {}
        self._fastest: dict[str, Device] = {}

    @cached_property
    def place(self) -> tuple[Device, RuntimeOptions]:
        """The device that was asked for, and how its sessions use the machine.

        Raises:
            UsageError: The text names no device.
            DeviceUnavailableError: The device was asked for and is not usable.
        """
        return options_for_device(*self._asked)

    def place_of(self, bundle: Bundle) -> tuple[Device, RuntimeOptions]:
        """Return where a bundle runs: `place`, and for `auto` on a CPU what is fastest by record.

        Fingerprints stay where they are: they are compared with stored ones.
        """
        device, options = self.place
        is_auto = device_from_text(self._asked[0]) is None and device.kind is DeviceKind.CPU
        if not is_auto or bundle.manifest.kind is BundleKind.FINGERPRINT:
            return device, options
        if bundle.digest not in self._fastest:
            self._fastest[bundle.digest] = fastest_device(bundle)
        return self._fastest[bundle.digest], options

    def bundle(self, reference: str | Path) -> Bundle:
        """Return a bundle whose files were verified.

        Args:
            reference: Name in the store, or path of a folder.

        Raises:
            BundleError: It is absent or altered.
        """
        path = self.store.path(reference)
        if path not in self._bundles:
            self._bundles[path] = self.store.open(reference)
        return self._bundles[path]

    def has_bundle(self, name: str) -> bool:
        """Tell whether the store has a bundle of this name."""
        try:
            return self.store.path(name).is_dir()
        except BundleNotFoundError:
            return False

    def unverified_bundle(self, reference: str | Path) -> Bundle:
        """Return a bundle for what its manifest says: its files are not looked at.

        Raises:
            BundleError: It is absent, or its manifest cannot be read.
        """
        return Bundle(*read_bundle(self.store.path(reference)))

    def open(
        self, kind: Callable[[Bundle, Device, RuntimeOptions], Model], reference: str | Path
    ) -> Model:
        """Open a model where it runs.

        `kind` is e.g. `lineup.models.captioner.Captioner`; the caller closes it.

        Raises:
            BundleError: The bundle is absent, altered or of another kind.
            UsageError: The device cannot be used.
        """
        bundle = self.bundle(reference)
        return kind(bundle, *self.place_of(bundle))
