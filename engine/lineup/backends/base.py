"""The contract of a runner: a loaded graph that turns named arrays into named arrays."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from lineup.bundles.manifest import TensorSpec
from lineup.closing import ClosesOnExit
from lineup.errors import BackendError
from lineup.types import AnyArray


class Runner(ClosesOnExit):
    """A loaded graph. `run` checks what it is fed; a backend implements `_run` and `close`.

    Attributes:
        inputs: Name, dtype and shape of every input; a str in a shape is a free dimension,
            and two equal names are the same length.
        outputs: The same for every output.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(self, feeds: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """Run the graph once.

        Args:
            feeds: One array per input, C-contiguous or not, of exactly the input's dtype.

        Returns:
            One freshly allocated array per output, by name.

        Raises:
            BackendError: A name, dtype or shape is not what the graph takes, or the run failed.
        """
        self._check(feeds)
        return self._run(feeds)

    @abstractmethod
    def _run(self, feeds: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """Run the graph on feeds that have been checked."""

    def _check(self, feeds: Mapping[str, AnyArray]) -> None:
        expected = {spec.name for spec in self.inputs}
        if set(feeds) != expected:
            raise BackendError(
                f"The graph takes the inputs {sorted(expected)}, but was fed {sorted(feeds)}."
            )
        lengths: dict[str, int] = {}
        for spec in self.inputs:
            _check_array(spec, feeds[spec.name], lengths)


def _check_array(spec: TensorSpec, array: AnyArray, lengths: dict[str, int]) -> None:
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
