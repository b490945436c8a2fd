"""A GPU as engines use it: the few calls of the CUDA runtime, and memory that engines share."""

from __future__ import annotations

import importlib
import math
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from lineup.backends.base import DeviceArray, Rows
from lineup.errors import BackendError, DeviceUnavailableError
from lineup.types import AnyArray


class CudaRuntime:
    """Memory, one stream and graphs of one GPU, by NVIDIA's cuda-python; addresses are integers."""

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
        self._copy("HostToDevice", address, array.ctypes.data, array.nbytes)

    def download(self, array: AnyArray, address: int) -> None:
        """Copy from the device into a C-contiguous array, in the stream's order."""
        self._copy("DeviceToHost", array.ctypes.data, address, array.nbytes)

    def copy(self, target: int, source: int, size_bytes: int) -> None:
        """Copy between two addresses of the device, in the stream's order."""
        self._copy("DeviceToDevice", target, source, size_bytes)

    def _copy(self, way: str, target: int, source: int, size_bytes: int) -> None:
        kind = getattr(self._api.cudaMemcpyKind, f"cudaMemcpy{way}")
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


class SharedScratch:
    """Device memory as large as the neediest engine asks for.

    Engines are created without memory of their own and borrow this before every run, so several
    loaded models cost the activations of the largest alone. All runs share one stream, which
    keeps them from overlapping.
    """

    def __init__(self, cuda: CudaRuntime) -> None:
        self._cuda = cuda
        self._address = 0
        self._size_bytes = 0

    @property
    def size_bytes(self) -> int:
        """Size at present."""
        return self._size_bytes

    def borrow(self, size_bytes: int) -> int:
        """Return the address of at least so many bytes, valid until the next larger request."""
        if size_bytes > self._size_bytes:
            self.close()
            self._address = self._cuda.allocate(size_bytes)
            self._size_bytes = size_bytes
        return self._address

    def close(self) -> None:
        """Give the memory back, once nothing on the stream uses it any more."""
        if self._size_bytes:
            self._cuda.synchronize()
            self._cuda.free(self._address)
        self._address = self._size_bytes = 0


class DevicePool:
    """Buffers of arrays that stay on a GPU.

    A buffer comes back when its array is dropped, and goes to the next array of that size. All
    work is on one stream, so whatever still reads it is done before it is written to.
    """

    def __init__(self, cuda: CudaRuntime) -> None:
        self.cuda = cuda
        self._idle: dict[int, list[int]] = {}

    def take(self, size_bytes: int) -> int:
        """Return the address of a buffer of exactly this size.

        Raises:
            BackendError: The device is out of memory.
        """
        idle = self._idle.get(size_bytes)
        if idle:
            return idle.pop()
        # Other sizes than before: what is idle is of no use any more.
        self.close()
        return self.cuda.allocate(size_bytes)

    def give(self, address: int, size_bytes: int) -> None:
        """Take a buffer back."""
        self._idle.setdefault(size_bytes, []).append(address)

    def close(self) -> None:
        """Free the buffers that no array holds."""
        idle = [address for addresses in self._idle.values() for address in addresses]
        self._idle = {}
        if idle:
            self.cuda.synchronize()
        for address in idle:
            self.cuda.free(address)


class CudaArray(DeviceArray):
    """An output that an engine left on the GPU.

    Raises:
        BackendError: The device is out of memory.
    """

    def __init__(self, pool: DevicePool, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype = shape, dtype
        size_bytes = max(1, math.prod(shape)) * dtype.itemsize
        self.address = pool.take(size_bytes)
        self._pool = pool
        weakref.finalize(self, pool.give, self.address, size_bytes)

    def to_host(self) -> AnyArray:
        """Copy the array into the memory of the host."""
        array: AnyArray = np.empty(self.shape, self.dtype)
        self._pool.cuda.download(array, self.address)
        self._pool.cuda.synchronize()
        return array

    def take_rows(self, rows: Rows) -> CudaArray:
        """Return the named rows, on the GPU."""
        taken = CudaArray(self._pool, (len(rows), *self.shape[1:]), self.dtype)
        row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        for target, source in enumerate(rows):
            self._pool.cuda.copy(
                taken.address + target * row_bytes,
                self.address + int(source) * row_bytes,
                row_bytes,
            )
        return taken


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
