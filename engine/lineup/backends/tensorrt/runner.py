"""Running an engine: inputs and outputs by name, shared scratch memory, CUDA graphs."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lineup.backends.base import DeviceArray, Runner, Value, host_array
from lineup.backends.tensorrt.api import Api, collecting_logger
from lineup.backends.tensorrt.cuda import CudaArray, CudaRuntime, DevicePool, SharedScratch
from lineup.bundles.manifest import Graph
from lineup.errors import BackendError

Shapes = tuple[tuple[int, ...], ...]

RUNS_BEFORE_CAPTURE = 2
"""Runs of the same shapes before a CUDA graph is recorded; the first one also allocates."""


class TensorRtRunner(Runner):
    """An engine on a GPU; its inputs and outputs are as the manifest describes the graph."""

    def __init__(
        self,
        api: Api,
        plan: Path,
        graph: Graph,
        cuda: CudaRuntime,
        scratch: SharedScratch,
        pool: DevicePool,
        *,
        weights: Path | None = None,
    ) -> None:
        """Load a plan.

        A stripped plan takes its weights from the ONNX file `weights`; every engine on the GPU
        shares `scratch` and `pool`.

        Raises:
            BackendError: The plan cannot be loaded, or does not fit the graph.
        """
        self.inputs, self.outputs = graph.inputs, graph.outputs
        self._cuda, self._scratch, self._pool = cuda, scratch, pool
        self._buffers: dict[str, tuple[int, int]] = {}  # addresses and sizes in bytes
        self._addresses: dict[str, int] = {}
        self._graphs: dict[tuple[Shapes, tuple[int, ...]], int | None] = {}
        self._repeats: tuple[Shapes, int] = ((), 0)
        self._engine = _engine_from_plan(api, plan)
        _check_names(self._engine, graph, plan)
        if weights is not None:
            _refit(api, self._engine, weights)
        self._stream_weights()
        strategy = api.module.ExecutionContextAllocationStrategy.USER_MANAGED
        self._context: Any = self._engine.create_execution_context(strategy)
        if self._context is None:
            raise BackendError(f"{plan}: TensorRT made no execution context; out of memory?")

    def _run(self, feeds: Mapping[str, Value], resident: Collection[str]) -> dict[str, Value]:
        if self._context is None:
            raise BackendError("The engine was closed; load it again before running it.")
        for name, value in feeds.items():
            self._feed(name, value)
        results = self._bind_outputs(resident)
        size_bytes = self._context.update_device_memory_size_for_shapes()
        self._context.set_device_memory(self._scratch.borrow(size_bytes), size_bytes)
        self._enqueue(tuple(value.shape for value in feeds.values()))
        for name, value in results.items():
            if not isinstance(value, DeviceArray):
                self._cuda.download(value, self._addresses[name])
        self._cuda.synchronize()
        return results

    def close(self) -> None:
        """Release the engine and its buffers; the shared scratch stays."""
        self._context = self._engine = None
        for address, _ in self._buffers.values():
            self._cuda.free(address)
        self._buffers = {}

    def _feed(self, name: str, value: Value) -> None:
        """Tell the context where an input is; uploads what is not on the GPU."""
        if not self._context.set_input_shape(name, value.shape):
            raise BackendError(
                f"Input {name!r} of shape {list(value.shape)} is outside what the engine was "
                "built for.",
                hint="Build it again with a wider --batch.",
            )
        if isinstance(value, CudaArray):
            self._bind(name, value.address)
            return
        array = np.ascontiguousarray(host_array(value))
        self._cuda.upload(self._bind_buffer(name, array.nbytes), array)

    def _bind(self, name: str, address: int) -> None:
        self._addresses[name] = address
        self._context.set_tensor_address(name, address)

    def _bind_buffer(self, name: str, size_bytes: int) -> int:
        """Return the address of a buffer of at least this size, told to the context."""
        address, available = self._buffers.get(name, (0, 0))
        if size_bytes > available:
            if available:
                self._cuda.synchronize()
                self._cuda.free(address)
            address = self._cuda.allocate(size_bytes)
            self._buffers[name] = address, size_bytes
        self._bind(name, address)
        return address

    def _bind_outputs(self, resident: Collection[str]) -> dict[str, Value]:
        missing = self._context.infer_shapes()
        if missing:
            raise BackendError(f"TensorRT cannot tell the output shapes; it lacks {list(missing)}.")
        results: dict[str, Value] = {}
        for spec in self.outputs:
            shape = tuple(self._context.get_tensor_shape(spec.name))
            dtype = np.dtype(spec.dtype)
            if spec.name in resident:
                kept = CudaArray(self._pool, shape, dtype)
                self._bind(spec.name, kept.address)
                results[spec.name] = kept
            else:
                self._bind_buffer(spec.name, max(1, math.prod(shape)) * dtype.itemsize)
                results[spec.name] = np.empty(shape, dtype)
        return results

    def _enqueue(self, shapes: Shapes) -> None:
        """Run the engine; as a recorded graph where the same run was seen before."""
        addresses = (self._scratch.borrow(0), *self._addresses.values())
        known = self._graphs.get((shapes, addresses))
        if known is not None:
            self._cuda.launch(known)
            return
        if not self._execute():
            raise BackendError("TensorRT failed to run the engine; its log says why (--verbose).")
        last, count = self._repeats
        self._repeats = (shapes, count + 1 if last == shapes else 1)
        is_due = self._repeats[1] == RUNS_BEFORE_CAPTURE
        if is_due and (shapes, addresses) not in self._graphs:
            # A graph holds addresses: it is replayed only where all of them are the same.
            self._graphs[shapes, addresses] = self._cuda.capture(self._execute)

    def _execute(self) -> bool:
        return bool(self._context.execute_async_v3(self._cuda.stream))

    def _stream_weights(self) -> None:
        if getattr(self._engine, "streamable_weights_size", 0):
            budget = self._engine.get_weight_streaming_automatic_budget()
            self._engine.weight_streaming_budget_v2 = budget


def _engine_from_plan(api: Api, plan: Path) -> Any:
    errors: list[str] = []
    runtime = api.module.Runtime(collecting_logger(api.module, errors))
    engine = None if runtime is None else runtime.deserialize_cuda_engine(plan.read_bytes())
    if engine is None:
        raise BackendError(
            f"{plan}: {api.flavour.value} {api.version} cannot load it: "
            f"{errors[0] if errors else 'no reason was given'}",
            hint="An engine runs on a GPU of the kind and release it was built for; see "
            "`lineup doctor`, and build it again with `lineup build`.",
        )
    return engine


def _check_names(engine: Any, graph: Graph, plan: Path) -> None:
    have = {engine.get_tensor_name(index) for index in range(engine.num_io_tensors)}
    want = {spec.name for spec in (*graph.inputs, *graph.outputs)}
    if have != want:
        raise BackendError(
            f"{plan}: its inputs and outputs are {sorted(have)}, expected {sorted(want)}.",
            hint="The plan belongs to another graph; build it again with `lineup build`.",
        )


def _refit(api: Api, engine: Any, onnx: Path) -> None:
    trt = api.module
    trt_logger = trt.Logger(trt.Logger.ERROR)
    refitter = trt.Refitter(engine, trt_logger)
    parser = trt.OnnxParserRefitter(refitter, trt_logger)
    if not parser.refit_from_file(str(onnx)) or not refitter.refit_cuda_engine():
        raise BackendError(
            f"{onnx}: its weights do not fit the plan.",
            hint="The graphs differ in more than weights; build an engine for this bundle.",
        )
