"""OpenVINO: graphs compiled for a processor, or for an Intel GPU or NPU.

Sources: OpenVINO's "Inference Devices and Modes" and "Precision Control".
"""

from __future__ import annotations

import importlib
import io
import logging
import sys
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from lineup.backends.base import Runner, Value, host_array
from lineup.backends.device import Device, DeviceKind
from lineup.backends.graph_cache import GraphKey, graph_digest
from lineup.backends.onnxrt import IDENTITY_GRAPH, RuntimeOptions
from lineup.bundles.manifest import Graph
from lineup.errors import BackendError, DeviceUnavailableError, LineupError, MissingExtraError
from lineup.machine import machine_digest, return_freed_memory, threads_within_quota
from lineup.types import AnyArray

OPENVINO_BACKEND = "openvino"

logger = logging.getLogger(__name__)

Shapes = Mapping[str, tuple[int, ...]]
"""Of a graph's inputs, by name."""

BLOB_NAME = "graph.blob"
"""A compiled graph, weights and all."""

_UNIT_FROM_KIND = {
    DeviceKind.OPENVINO: "CPU",
    DeviceKind.OPENVINO_GPU: "GPU",
    DeviceKind.OPENVINO_NPU: "NPU",
}
_CAPABILITY_FROM_PRECISION = {"bf16": "BF16", "f32": "FP32", "f16": "FP16"}
"""What a device may compute in, most wanted first, and how OpenVINO lists it."""


def probe_openvino(device: Device) -> str | None:
    """Compile a graph of one node on the device; see `lineup.backends.device.Probe`."""
    try:
        _compiled(io.BytesIO(IDENTITY_GRAPH), with_precision(device), RuntimeOptions())
    except LineupError as error:
        return error.message
    return None


def with_precision(device: Device) -> Device:
    """Return the device with what it computes in: as asked for, else bf16 if it has that, or f32.

    A processor "has" bf16 where its instructions do; elsewhere it would be slower than f32.

    Raises:
        MissingExtraError: OpenVINO is not installed.
        DeviceUnavailableError: The device is not there, or cannot compute in what was asked for.
    """
    able = precisions_of(device)
    precision = device.precision or next(iter(able), "")
    if precision not in able:
        raise DeviceUnavailableError(
            f"The {_UNIT_FROM_KIND[device.kind]} computes in {' or '.join(able) or 'no float'} by "
            f"OpenVINO, not in {precision}."
        )
    return replace(device, precision=precision)


def precisions_of(device: Device) -> list[str]:
    """Return what a device can compute in, the most wanted first.

    Raises:
        MissingExtraError: OpenVINO is not installed.
        DeviceUnavailableError: The device is not there.
    """
    unit = _UNIT_FROM_KIND[device.kind]
    there = _core().available_devices
    if unit not in {one.split(".")[0] for one in there}:
        raise DeviceUnavailableError(
            f"OpenVINO finds no {unit} here, only {', '.join(there)}; its driver may be missing."
        )
    listed = _core().get_property(unit, "OPTIMIZATION_CAPABILITIES")
    return [one for one, capability in _CAPABILITY_FROM_PRECISION.items() if capability in listed]


def openvino_key(graph: Graph, device: Device, shapes: Shapes) -> GraphKey:
    """Return the key of a graph that OpenVINO compiled for a device of this machine."""
    device = with_precision(device)
    name = _core().get_property(_UNIT_FROM_KIND[device.kind], "FULL_DEVICE_NAME")
    return GraphKey(
        graph=graph_digest(graph),
        backend=OPENVINO_BACKEND,
        release=str(_openvino().__version__),
        machine=machine_digest(name),
        profile={name: (shape, shape, shape) for name, shape in shapes.items()},
        flags=(str(device),),
    )


def write_blob(source: Path, device: Device, folder: Path, shapes: Shapes) -> Path:
    """Compile an ONNX file for a device and write the result into a folder; return its path.

    Compiled for the shapes of its inputs, a graph packs its weights when it is loaded, and plans
    the memory of a run as a whole: SD-Turbo's decoder takes 520 MiB and not 700. Where none are
    given, any will do.

    For a device that computes in 16 bits the weights are kept in 16: the file is half as large, and
    OpenVINO packs what it reads, where of weights in fp32 it would keep a copy in 16 bits as well.
    (They are kept in fp16, which has more digits than bf16; what lies outside of its range stays
    at its ends.)

    Raises:
        BackendError: OpenVINO cannot compile it.
    """
    device = with_precision(device)
    try:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            if device.precision != "f32":
                source = _with_half_weights(source, Path(name))
            graph = _compiled(source, device, RuntimeOptions(), shapes=shapes)
            content = graph.export_model().getbuffer()
    except LineupError:
        raise
    except Exception as error:  # openvino raises bare RuntimeErrors
        raise BackendError(f"{source}: openvino cannot export it: {_reason(error)}") from error
    (folder / BLOB_NAME).write_bytes(content)
    return folder / BLOB_NAME


def _with_half_weights(source: Path, folder: Path) -> Path:
    """Write a graph for OpenVINO with its weights in fp16; return its file."""
    target = folder / "graph.xml"
    openvino = _openvino()
    openvino.save_model(_core().read_model(source), target, compress_to_fp16=True)
    return target


class OpenVinoRunner(Runner):
    """A compiled graph; its inputs and outputs are as the manifest describes the graph.

    Args:
        source: An ONNX file, or what `write_blob` wrote for the same device.
        exported: The ONNX file, for runs of other shapes than `source` was compiled for.
        graph: The graph's description.
        device: Where to run.
        options: Threads, and how many runs may go on at once.
        shapes: What `source` was compiled for; empty where any will do.

    Raises:
        BackendError: OpenVINO cannot load the graph.
        DeviceUnavailableError: The device is not there, or cannot compute in what was asked for.
    """

    def __init__(
        self,
        source: Path,
        exported: Path,
        graph: Graph,
        device: Device,
        options: RuntimeOptions,
        shapes: Shapes | None = None,
    ) -> None:
        self.inputs, self.outputs = graph.inputs, graph.outputs
        self._exported, self._options, self._shapes = exported, options, dict(shapes or {})
        self._device = device = with_precision(device)
        self._lock = Lock()
        self._blob = _mapped(source) if source.name == BLOB_NAME else None
        self._graph: Any = _compiled(source, device, options, self._blob)
        return_freed_memory()  # of reading the graph

    def _run(self, feeds: Mapping[str, Value], resident: Collection[str]) -> dict[str, Value]:
        del resident
        # Memory of contiguous arrays that may be written is read where it is.
        arrays = {name: np.ascontiguousarray(host_array(value)) for name, value in feeds.items()}
        graph, *_ = held = self._fitting(arrays)  # by a run that goes on while it is closed
        try:
            # A request holds inputs and outputs of one run: threads need one each, and none stays.
            results = graph.create_infer_request().infer(arrays, share_inputs=True)
            outputs = {spec.name: results[spec.name] for spec in self.outputs}
        except Exception as error:  # openvino raises bare RuntimeErrors
            raise BackendError(f"openvino failed to run the graph: {_reason(error)}") from error
        del held
        return outputs

    def _fitting(self, arrays: Mapping[str, AnyArray]) -> tuple[Any, Any]:
        """Return the graph for arrays of these shapes, and what it reads its weights from."""
        with self._lock:
            if self._graph is None:
                raise BackendError("The graph was closed; load it again before running it.")
            shapes = {name: array.shape for name, array in arrays.items() if name in self._shapes}
            if shapes != self._shapes:
                logger.info("%s: run with other shapes than it was built for", self._exported)
                self._graph = self._blob = None
                self._shapes = {}
                self._graph = _compiled(self._exported, self._device, self._options)
            return self._graph, self._blob

    def close(self) -> None:
        """Drop the compiled graph; its memory is released."""
        with self._lock:
            self._graph = self._blob = None


def _compiled(
    source: Path | io.BytesIO,
    device: Device,
    options: RuntimeOptions,
    blob: Any = None,
    shapes: Shapes | None = None,
) -> Any:
    """Compile an ONNX graph, or load a blob, for a device with its precision."""
    unit = _UNIT_FROM_KIND[device.kind]
    settings = {"INFERENCE_PRECISION_HINT": device.precision, "PERFORMANCE_HINT": "LATENCY"}
    if device.on_cpu:
        settings |= _processor_settings(options)
    try:
        if blob is not None:
            graph = _core().import_model(blob, unit, settings)
        else:
            model = _core().read_model(source)
            if shapes:
                model.reshape({name: list(shape) for name, shape in shapes.items()})
            graph = _core().compile_model(model, unit, settings)
        taken = graph.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    except Exception as error:  # openvino raises bare RuntimeErrors
        name = source if isinstance(source, Path) else "a graph of one node"
        raise BackendError(f"{name}: openvino cannot load it: {_reason(error)}") from error
    if taken != device.precision:
        raise DeviceUnavailableError(f"{device} was asked for, but OpenVINO computes in {taken}.")
    return graph


def _mapped(path: Path) -> Any:
    """Return a file as a tensor, whose pages stay in the file as long as the tensor is there.

    OpenVINO reads weights from it where they lie, and does not hold it. It shares only what may be
    written, so that a page would be copied if ever it were.
    """
    return _openvino().Tensor(np.memmap(path, np.uint8, "c"), shared_memory=True)


def _processor_settings(options: RuntimeOptions) -> dict[str, Any]:
    """Return settings for lean use of the processor; see `RuntimeOptions`."""
    settings = {
        "NUM_STREAMS": options.runs_at_once,
        # Pinned, the threads of two processes would wait for the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    threads = options.threads or threads_within_quota()
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads * options.runs_at_once
    return settings


def _reason(error: Exception) -> str:
    """Return the last line of OpenVINO's message: those before say where in its source it was."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


@cache
def _core() -> Any:
    return _openvino().Core()


@cache
def _openvino() -> Any:
    """Import OpenVINO without `openvino_telemetry`, which would report every import to its makers.

    OpenVINO goes without where that is not installed.

    Raises:
        MissingExtraError: It is not installed.
    """
    telemetry = "openvino_telemetry"
    is_ours = telemetry not in sys.modules
    if is_ours:
        sys.modules[telemetry] = None  # type: ignore[assignment]
    try:
        openvino = importlib.import_module("openvino")
        # Fills a table that its C++ fills at first use, letting go of the GIL on the way: two
        # threads that ran the first graph at once would wait for each other for ever.
        openvino.Type.f32.to_dtype()
        return openvino
    except ImportError as error:
        raise MissingExtraError(
            f"openvino cannot be imported ({error}); pip install 'lineup-forensics[openvino]' "
            "brings it."
        ) from error
    finally:
        if is_ours:
            del sys.modules[telemetry]
