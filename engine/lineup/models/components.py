"""The graphs and tokenizers of one model: loaded when first needed, released when told."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

from tokenizers import Tokenizer

from lineup.backends.base import Runner
from lineup.backends.device import Device
from lineup.backends.onnxrt import RuntimeOptions
from lineup.backends.opening import runner_from_bundle
from lineup.bundles.bundle import Bundle
from lineup.bundles.manifest import TensorSpec
from lineup.closing import ClosesOnExit
from lineup.errors import BackendError
from lineup.trace import Trace
from lineup.types import AnyArray


class Components(ClosesOnExit):
    """Owns the sessions of a bundle's graphs; whoever plans memory drives `resident` and `release`.

    Attributes:
        bundle: The model.
        trace: Time and calls per graph; loading counts as "load".
    """

    def __init__(self, bundle: Bundle, device: Device, options: RuntimeOptions) -> None:
        self.bundle = bundle
        self.trace = Trace()
        self._device = device
        self._options = options
        self._runners: dict[str, Runner] = {}
        self._loader = ThreadPoolExecutor(1, "lineup-load")
        self._ahead: dict[str, Future[Runner]] = {}
        self._loading = Lock()
        self._tokenizers: dict[str, Tokenizer] = {}
        self._is_closed = False

    @property
    def resident(self) -> tuple[str, ...]:
        """Roles of the graphs that are loaded, in the order of loading."""
        return tuple(self._runners)

    def inputs(self, role: str) -> dict[str, TensorSpec]:
        """Return the inputs of a graph by name, from the manifest; loads nothing.

        Raises:
            BundleFormatError: The bundle has no graph of that role.
        """
        self.bundle.graph_path(role)
        return {spec.name: spec for spec in self.bundle.manifest.graphs[role].inputs}

    def run(self, role: str, feeds: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """Run a graph once, loading it if need be; see `Runner.run`.

        Raises:
            BundleFormatError: The bundle has no graph of that role.
            BackendError: The graph cannot be loaded or failed to run, or all was closed.
        """
        runner = self._runner(role)
        with self.trace.call(role):
            return runner.run(feeds)

    def load_ahead(self, *roles: str) -> None:
        """Begin to load graphs that are needed next, one after the other, while others run.

        Loading keeps one core busy, and the first picture waits for nothing else. Only on a
        processor: a GPU's contexts belong to threads.
        """
        if self._is_closed or not self._device.on_cpu:
            return
        for role in roles:
            if role not in self._runners and role not in self._ahead:
                self._ahead[role] = self._loader.submit(self._loaded, role)

    def release(self, *roles: str) -> None:
        """Release graphs; those that are needed again are loaded again.

        None named means all.
        """
        for role in roles or (*self._runners, *self._ahead):
            ahead = self._ahead.pop(role, None)
            if ahead is not None and ahead.exception() is None:
                self._runners[role] = ahead.result()
            runner = self._runners.pop(role, None)
            if runner is not None:
                runner.close()

    def tokenizer(self, path: str) -> Tokenizer:
        """Return a tokenizer of the bundle; it stays loaded.

        Raises:
            BundleFormatError: The file is not a tokenizer.
        """
        if path not in self._tokenizers:
            self._tokenizers[path] = self.bundle.tokenizer(path)
        return self._tokenizers[path]

    def close(self) -> None:
        """Release everything for good."""
        self.release()
        self._loader.shutdown()
        self._tokenizers.clear()
        self._is_closed = True

    def _runner(self, role: str) -> Runner:
        if self._is_closed:
            name = self.bundle.manifest.name
            raise BackendError(f"{name} was closed; open it again before using it.")
        with self._loading:
            if role not in self._runners:
                with self.trace.call("load"):
                    ahead = self._ahead.pop(role, None)
                    self._runners[role] = self._loaded(role) if ahead is None else ahead.result()
            return self._runners[role]

    def _loaded(self, role: str) -> Runner:
        return runner_from_bundle(self.bundle, role, self._device, self._options)
