"""The few calls of the CUDA runtime that an engine needs, behind an interface tests can fake."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Protocol

from lineup.errors import BackendError, DeviceUnavailableError
from lineup.types import AnyArray


class Cuda(Protocol):
    """Memory, one stream, and graphs of one GPU. Addresses are plain integers."""

    @property
    def stream(self) -> int:
        """Handle of the stream that everything runs on."""
        ...

    def allocate(self, size_bytes: int) -> int:
        """Return the address of fresh device memory."""
        ...

    def free(self, address: int) -> None:
        """Give device memory back."""
        ...

    def upload(self, address: int, array: AnyArray) -> None:
        """Copy a C-contiguous array to the device, in the stream's order."""
        ...

    def download(self, array: AnyArray, address: int) -> None:
        """Copy from the device into a C-contiguous array, in the stream's order."""
        ...

    def copy(self, target: int, source: int, size_bytes: int) -> None:
        """Copy between two addresses of the device, in the stream's order."""
        ...

    def synchronize(self) -> None:
        """Wait until the stream has done everything."""
        ...

    def capture(self, enqueue: Callable[[], bool]) -> int | None:
        """Record what `enqueue` puts on the stream as a graph; None when it cannot be recorded."""
        ...

    def launch(self, graph: int) -> None:
        """Put a recorded graph on the stream."""
        ...

    def close(self) -> None:
        """Release stream and graphs."""
        ...


class CudaRuntime:
    """`Cuda` through NVIDIA's cuda-python bindings."""

    def __init__(self, index: int = 0) -> None:
        """Choose a GPU and create a stream on it.

        Raises:
            DeviceUnavailableError: cuda-python, the driver or the GPU is missing.
        """
        self._api = _bindings()
        try:
            self._call(self._api.cudaSetDevice, index)
            self._stream = self._call(self._api.cudaStreamCreate)
        except BackendError as error:
            raise DeviceUnavailableError(
                f"GPU {index} cannot be used: {error.message}",
                hint="See what `lineup doctor` finds, or use --device cpu.",
            ) from error
        self._graphs: dict[int, Any] = {}

    @property
    def stream(self) -> int:
        """Handle of the stream."""
        return int(self._stream)

    def compute_capability(self, index: int) -> str:
        """Return the GPU's compute capability, e.g. "8.7"."""
        properties = self._call(self._api.cudaGetDeviceProperties, index)
        return f"{properties.major}.{properties.minor}"

    def allocate(self, size_bytes: int) -> int:
        """Return the address of fresh device memory.

        Raises:
            BackendError: The device is out of memory.
        """
        return int(self._call(self._api.cudaMalloc, size_bytes))

    def free(self, address: int) -> None:
        """Give device memory back."""
        self._call(self._api.cudaFree, address)

    def upload(self, address: int, array: AnyArray) -> None:
        """Copy a C-contiguous array to the device, in the stream's order."""
        kind = self._api.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call(
            self._api.cudaMemcpyAsync, address, array.ctypes.data, array.nbytes, kind, self._stream
        )

    def download(self, array: AnyArray, address: int) -> None:
        """Copy from the device into a C-contiguous array, in the stream's order."""
        kind = self._api.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call(
            self._api.cudaMemcpyAsync, array.ctypes.data, address, array.nbytes, kind, self._stream
        )

    def copy(self, target: int, source: int, size_bytes: int) -> None:
        """Copy between two addresses of the device, in the stream's order."""
        kind = self._api.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        self._call(self._api.cudaMemcpyAsync, target, source, size_bytes, kind, self._stream)

    def synchronize(self) -> None:
        """Wait until the stream has done everything."""
        self._call(self._api.cudaStreamSynchronize, self._stream)

    def capture(self, enqueue: Callable[[], bool]) -> int | None:
        """Record what `enqueue` puts on the stream as a graph; None when it cannot be recorded."""
        mode = self._api.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call(self._api.cudaStreamBeginCapture, self._stream, mode)
        is_queued = enqueue()
        try:
            recorded = self._call(self._api.cudaStreamEndCapture, self._stream)
            if not is_queued:
                return None
            graph = self._call(self._api.cudaGraphInstantiate, recorded, 0)
        except BackendError:
            return None  # some layers cannot be captured; the engine runs without a graph
        handle = len(self._graphs)
        self._graphs[handle] = graph
        return handle

    def launch(self, graph: int) -> None:
        """Put a recorded graph on the stream."""
        self._call(self._api.cudaGraphLaunch, self._graphs[graph], self._stream)

    def close(self) -> None:
        """Release stream and graphs."""
        for graph in self._graphs.values():
            self._call(self._api.cudaGraphExecDestroy, graph)
        self._graphs = {}
        self._call(self._api.cudaStreamDestroy, self._stream)

    def _call(self, function: Any, *arguments: Any) -> Any:
        """Call the runtime; its first result is a status, which becomes an exception."""
        status, *values = function(*arguments)
        if int(status) != 0:
            _, name = self._api.cudaGetErrorName(status)
            _, text = self._api.cudaGetErrorString(status)
            raise BackendError(f"{function.__name__}: {_text(name)}: {_text(text)}")
        return values[0] if values else None


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _bindings() -> Any:
    for name in ("cuda.bindings.runtime", "cuda.cudart"):  # the second is that of releases 11, 12
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise DeviceUnavailableError(
        "Running a TensorRT engine needs NVIDIA's cuda-python, which is not installed.",
        hint="Install it with: pip install cuda-python",
    )
