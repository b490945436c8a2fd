"""Arrays that stay on the GPU between two runs, in buffers that are used again."""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np

from lineup.backends.tensorrt.cuda import Cuda
from lineup.backends.values import DeviceArray, Rows
from lineup.types import AnyArray


class DevicePool:
    """Buffers of arrays that stay on a GPU.

    A buffer comes back when its array is dropped, and goes to the next array of that size. All
    work is on one stream, so whatever still reads it is done before it is written to.
    """

    def __init__(self, cuda: Cuda) -> None:
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

    Args:
        pool: Where its buffer comes from and goes to.
        shape: Lengths of its axes.
        dtype: Of its elements.

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
