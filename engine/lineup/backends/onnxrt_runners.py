"""Graphs in sessions of ONNX Runtime: through the host, or on a GPU with bound arrays.

On a GPU, what a later run needs stays there; what repeats with the same shapes is recorded once as
a CUDA graph and replayed, from buffers that stay where they are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import onnxruntime as ort

from lineup.backends.base import DeviceArray, Rows, Runner, Value, host_array
from lineup.bundles.manifest import TensorSpec
from lineup.errors import BackendError
from lineup.types import AnyArray

logger = logging.getLogger(__name__)

RECORDED_SHAPES = 4
"""CUDA graphs of one session; each keeps the activations of its shapes on the device."""

_GRAPH_ID = "gpu_graph_id"
_NO_GRAPH = "-1"
"""ONNX Runtime's option of a run, and the value that has it run without a CUDA graph."""

Shapes: TypeAlias = tuple[tuple[int, ...], ...]


class OnnxRuntimeRunner(Runner):
    """A graph in an ONNX Runtime session, which `close` drops."""

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


class DeviceMemory:
    """Where a session's inputs and outputs lie.

    Args:
        name: ONNX Runtime's name of the kind of device: "cuda".
        index: Which one.
        open_gather: Loads a graph that takes `rows` of `values` along the first axis, there.
            Called when it is first needed: greedy captions never do.
    """

    def __init__(
        self, name: str, index: int, open_gather: Callable[[], ort.InferenceSession]
    ) -> None:
        self.place = name, index
        self._open_gather = open_gather
        self._gather: ort.InferenceSession | None = None

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> ort.OrtValue:
        """Allocate an array that stays where it is until it is dropped."""
        return ort.OrtValue.ortvalue_from_shape_and_type(shape, dtype, *self.place)

    def rows_of(self, value: ort.OrtValue, rows: Rows) -> ort.OrtValue:
        """Return rows of a value that lies there; see `DeviceArray.take_rows`."""
        self._gather = self._gather or self._open_gather()
        binding = self._gather.io_binding()
        binding.bind_ortvalue_input("values", value)
        binding.bind_cpu_input("rows", np.ascontiguousarray(rows))
        binding.bind_output("taken", *self.place)
        self._gather.run_with_iobinding(binding)
        return binding.get_outputs()[0]


class OrtDeviceArray(DeviceArray):
    """An output that ONNX Runtime left on the device."""

    def __init__(self, value: ort.OrtValue, dtype: np.dtype[Any], memory: DeviceMemory) -> None:
        self.value = value
        self.shape = tuple(value.shape())
        self.dtype = dtype
        self._memory = memory

    def to_host(self) -> AnyArray:
        """Copy the array into the memory of the host."""
        array: AnyArray = self.value.numpy()
        return array

    def take_rows(self, rows: Rows) -> OrtDeviceArray:
        """Return the named rows, on the device."""
        try:
            taken = self._memory.rows_of(self.value, rows)
        except Exception as error:  # onnxruntime raises bare RuntimeError subclasses of its own
            raise failed_run(error) from error
        return OrtDeviceArray(taken, self.dtype, self._memory)


class BoundRunner(OnnxRuntimeRunner):
    """A graph in a session on a GPU.

    A run that leaves something on the device, or is fed with such, binds its inputs and outputs
    anew. Others are recorded when their shapes come back.

    `records` tells whether the session was made for CUDA graphs.
    """

    def __init__(
        self, session: ort.InferenceSession, memory: DeviceMemory, *, records: bool
    ) -> None:
        super().__init__(session)
        self._memory = memory
        self._records = records
        self._seen: dict[Shapes, Shapes] = {}
        self._recordings: dict[Shapes, _Recording] = {}

    def close(self) -> None:
        """Drop the session and every buffer."""
        self._recordings.clear()
        super().close()

    def _run(self, feeds: Mapping[str, Value], resident: Collection[str]) -> dict[str, Value]:
        session = self._session
        may_record = self._records and not resident
        if may_record and not any(isinstance(value, DeviceArray) for value in feeds.values()):
            replayed = self._replayed({name: host_array(value) for name, value in feeds.items()})
            if replayed is not None:
                return replayed
        try:
            return self._run_once(session, feeds, resident)
        except Exception as error:  # onnxruntime raises bare RuntimeError subclasses of its own
            raise failed_run(error) from error

    def _run_once(
        self, session: ort.InferenceSession, feeds: Mapping[str, Value], resident: Collection[str]
    ) -> dict[str, Value]:
        binding = session.io_binding()
        for name, value in feeds.items():
            if isinstance(value, OrtDeviceArray):
                binding.bind_ortvalue_input(name, value.value)
            else:
                binding.bind_cpu_input(name, np.ascontiguousarray(host_array(value)))
        for spec in self.outputs:
            if spec.name in resident:
                binding.bind_output(spec.name, *self._memory.place)
            else:
                binding.bind_output(spec.name)
        session.run_with_iobinding(binding, self._run_options(_NO_GRAPH))
        outputs: dict[str, Value] = {}
        for spec, value in zip(self.outputs, binding.get_outputs(), strict=True):
            is_resident = spec.name in resident
            kept = OrtDeviceArray(value, np.dtype(spec.dtype), self._memory)
            outputs[spec.name] = kept if is_resident else value.numpy()
        if not resident:
            # Of these graphs the shapes of the inputs decide those of the outputs.
            self._seen[_shapes_of(feeds)] = tuple(value.shape for value in outputs.values())
        return outputs

    def _replayed(self, feeds: Mapping[str, AnyArray]) -> dict[str, Value] | None:
        """Run as a CUDA graph; None if these shapes are new, too many, or cannot be recorded."""
        shapes = _shapes_of(feeds)
        recording = self._recordings.get(shapes)
        try:
            if recording is None:
                if shapes not in self._seen or len(self._recordings) == RECORDED_SHAPES:
                    return None
                recording = self._recordings[shapes] = self._recording(feeds, self._seen[shapes])
            return dict(recording.run(self._session, feeds))
        except Exception as error:  # onnxruntime raises bare RuntimeError subclasses of its own
            logger.warning("CUDA graphs are left alone from here on: %s", error)
            self._records = False
            self._recordings.clear()
            return None

    def _recording(self, feeds: Mapping[str, AnyArray], results: Shapes) -> _Recording:
        binding = self._session.io_binding()
        inputs = {
            name: self._memory.empty(array.shape, array.dtype) for name, array in feeds.items()
        }
        outputs = {
            spec.name: self._memory.empty(shape, np.dtype(spec.dtype))
            for spec, shape in zip(self.outputs, results, strict=True)
        }
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in outputs.items():
            binding.bind_ortvalue_output(name, value)
        # Numbers start at 1; ONNX Runtime keeps 0 for itself.
        options = self._run_options(str(len(self._recordings) + 1))
        return _Recording(binding, inputs, outputs, options)

    def _run_options(self, graph_id: str) -> ort.RunOptions:
        options = ort.RunOptions()
        if self._records:
            options.add_run_config_entry(_GRAPH_ID, graph_id)
        return options


@dataclass(frozen=True, slots=True)
class _Recording:
    """Buffers of one set of shapes. A CUDA graph holds their addresses, so they are written to."""

    binding: Any
    inputs: dict[str, ort.OrtValue]
    outputs: dict[str, ort.OrtValue]
    options: ort.RunOptions

    def run(
        self, session: ort.InferenceSession, feeds: Mapping[str, AnyArray]
    ) -> dict[str, AnyArray]:
        for name, array in feeds.items():
            self.inputs[name].update_inplace(np.ascontiguousarray(array))
        session.run_with_iobinding(self.binding, self.options)
        # On a GPU this copies; a buffer in the memory of the host would be overwritten by the next.
        return {name: np.array(value.numpy()) for name, value in self.outputs.items()}


def _shapes_of(values: Mapping[str, Value]) -> Shapes:
    return tuple(values[name].shape for name in sorted(values))
