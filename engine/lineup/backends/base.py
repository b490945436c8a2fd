"""The contract of a runner: a loaded graph that turns named arrays into named arrays.

The arrays are NumPy's, or stay on a device for the next graph.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from lineup.bundles.manifest import TensorSpec
from lineup.closing import ClosesOnExit
from lineup.errors import BackendError
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


class Runner(ClosesOnExit):
    """A loaded graph. `run` checks what it is fed; a backend implements `_run` and `close`.

    Attributes:
        inputs: Name, dtype and shape of every input; a str in a shape is a free dimension,
            and two equal names are the same length.
        outputs: The same for every output.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(self, feeds: Mapping[str, Value]) -> dict[str, AnyArray]:
        """Run the graph once.

        Args:
            feeds: One array per input, C-contiguous or not, of exactly the input's dtype.

        Returns:
            One freshly allocated array per output, by name.

        Raises:
            BackendError: A name, dtype or shape is not what the graph takes, or the run failed.
        """
        outputs = self.run_resident(feeds, ())
        return {name: host_array(value) for name, value in outputs.items()}

    def run_resident(
        self, feeds: Mapping[str, Value], resident: Collection[str]
    ) -> dict[str, Value]:
        """As `run`, for a caller that feeds some of the outputs to a graph again.

        Args:
            feeds: As `run` takes them.
            resident: Names of outputs that need not come to the host. A backend that can leaves
                them on its device; on a CPU, and in backends that cannot, they are arrays.
        """
        self._check(feeds)
        return self._run(feeds, resident)

    @abstractmethod
    def _run(self, feeds: Mapping[str, Value], resident: Collection[str]) -> dict[str, Value]:
        """Run the graph on feeds that have been checked; see `run_resident`."""

    def _check(self, feeds: Mapping[str, Value]) -> None:
        expected = {spec.name for spec in self.inputs}
        if set(feeds) != expected:
            raise BackendError(
                f"The graph takes the inputs {sorted(expected)}, but was fed {sorted(feeds)}."
            )
        lengths: dict[str, int] = {}
        for spec in self.inputs:
            _check_array(spec, feeds[spec.name], lengths)


def _check_array(spec: TensorSpec, array: Value, lengths: dict[str, int]) -> None:
    """Compare one array with its spec; `lengths` collects the free dimensions seen so far."""
    if array.dtype.name != spec.dtype:
        raise BackendError(f"Input {spec.name!r} takes {spec.dtype}, but was fed {array.dtype}.")
    fits = len(array.shape) == len(spec.shape) and all(
        lengths.setdefault(want, have) == have if isinstance(want, str) else want == have
        for want, have in zip(spec.shape, array.shape, strict=True)
    )
    if not fits:
        raise BackendError(
            f"Input {spec.name!r} takes the shape {list(spec.shape)}, "
            f"but was fed {list(array.shape)}" + (f" where {lengths} holds." if lengths else ".")
        )
