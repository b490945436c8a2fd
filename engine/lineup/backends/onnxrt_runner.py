"""A graph in an ONNX Runtime session, fed and read through the host."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import onnxruntime as ort

from lineup.backends.base import Runner
from lineup.backends.values import Value, host_array
from lineup.bundles.manifest import TensorSpec
from lineup.errors import BackendError


class OnnxRuntimeRunner(Runner):
    """A graph in an ONNX Runtime session.

    Args:
        session: Of the graph; dropped by `close`.
    """

    def __init__(self, session: ort.InferenceSession) -> None:
        self._opened: ort.InferenceSession | None = session
        self.inputs = tuple(_spec_from_node(node) for node in session.get_inputs())
        self.outputs = tuple(_spec_from_node(node) for node in session.get_outputs())

    def _run(self, feeds: Mapping[str, Value], resident: Collection[str]) -> dict[str, Value]:
        del resident
        names = [spec.name for spec in self.outputs]
        session = self._session
        arrays = {name: host_array(value) for name, value in feeds.items()}
        try:
            outputs = session.run(names, arrays)
        except Exception as error:  # onnxruntime raises bare RuntimeError subclasses of its own
            raise failed_run(error) from error
        return dict(zip(names, outputs, strict=True))

    def close(self) -> None:
        """Drop the session; its memory is released."""
        self._opened = None

    @property
    def _session(self) -> ort.InferenceSession:
        if self._opened is None:
            raise BackendError("The graph was closed; load it again before running it.")
        return self._opened


def failed_run(error: Exception) -> BackendError:
    """Return what a run that ONNX Runtime gave up raises."""
    return BackendError(f"onnxruntime failed to run the graph: {error}")


def _spec_from_node(node: Any) -> TensorSpec:
    """Translate onnxruntime's description: "tensor(float)" and None become "float32" and "?"."""
    element = node.type.removeprefix("tensor(").removesuffix(")")
    dtype = {"float": "float32", "double": "float64"}.get(element, element)
    shape = tuple(f"?{i}" if length is None else length for i, length in enumerate(node.shape))
    return TensorSpec(name=node.name, dtype=dtype, shape=shape)
