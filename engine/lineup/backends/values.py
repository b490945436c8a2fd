"""What goes into a graph and comes out: arrays of NumPy, or arrays that stay on a device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from lineup.types import AnyArray

Rows = npt.NDArray[np.int64]


class DeviceArray(ABC):
    """An array in the memory of a device, as one graph left it there for the next.

    Attributes:
        shape: Lengths of its axes.
        dtype: Of its elements.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @abstractmethod
    def to_host(self) -> AnyArray:
        """Copy the array into the memory of the host."""

    @abstractmethod
    def take_rows(self, rows: Rows) -> DeviceArray:
        """Return a new array on the device, whose row i is row `rows[i]` of this one.

        Args:
            rows: Shape (any,), int64, each 0 to the length of the first axis less 1.

        Raises:
            BackendError: The device failed.
        """


Value: TypeAlias = AnyArray | DeviceArray


def host_array(value: Value) -> AnyArray:
    """Return a value as an array of NumPy; copies only what is on a device."""
    return value.to_host() if isinstance(value, DeviceArray) else value


def rows_of(value: Value, rows: Rows) -> Value:
    """Return the named rows of a value, where it is; see `DeviceArray.take_rows`."""
    return value.take_rows(rows) if isinstance(value, DeviceArray) else value[rows]
