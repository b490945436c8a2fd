"""From a bundle's graph to a runner on the device that was asked for."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cache

from lineup.backends.base import Runner
from lineup.backends.building import (
    REFITTABLE,
    cpu_key,
    device_of_graph,
    engine_of_graph,
    native_shapes,
    policy_from_graph,
)
from lineup.backends.device import OPENVINO_KINDS, Device, DeviceKind, resolve_device
from lineup.backends.graph_cache import graph_cache
from lineup.backends.onnxrt import RuntimeOptions, WeightPolicy, probe_device, runner_from_onnx
from lineup.backends.openvino import (
    OpenVinoRunner,
    openvino_key,
    precisions_of,
    probe_openvino,
    with_precision,
)
from lineup.backends.tensorrt.api import Flavour, api_from_flavour
from lineup.backends.tensorrt.cuda import CudaRuntime, DevicePool, SharedScratch
from lineup.backends.tensorrt.runner import TensorRtRunner
from lineup.bundles.bundle import Bundle
from lineup.errors import BackendError, LineupError

logger = logging.getLogger(__name__)

FLAVOUR_FROM_KIND = {
    DeviceKind.TENSORRT_NATIVE: Flavour.TENSORRT,
    DeviceKind.TENSORRT_RTX: Flavour.RTX,
}


def probe(device: Device) -> str | None:
    """Tell why a device cannot run a graph; None when it can. See `resolve_device`."""
    if device.kind in OPENVINO_KINDS:
        return probe_openvino(device)
    flavour = FLAVOUR_FROM_KIND.get(device.kind)
    if flavour is None:
        return probe_device(device)
    try:
        api_from_flavour(flavour)
        CudaRuntime(device.index).close()
    except LineupError as error:
        return error.message
    return None


def usable_devices() -> list[Device]:
    """Return the devices that are there and run any graph as it is, in every precision they have.

    TensorRT is none of them: it runs what was compiled for it.
    """
    found = [
        kind
        for kind in (DeviceKind.CPU, DeviceKind.CUDA, *sorted(OPENVINO_KINDS))
        if probe(Device(kind)) is None
    ]
    return [
        Device(kind, precision=precision)
        for kind in found
        for precision in (precisions_of(Device(kind)) if kind in OPENVINO_KINDS else [""])
    ]


def options_for_device(device: str, threads: int) -> tuple[Device, RuntimeOptions]:
    """Return the device that was asked for and how its sessions use the machine.

    Args:
        device: See `lineup.backends.device.device_from_text`.
        threads: Threads on the CPU; 0 takes every core.

    Raises:
        UsageError: The text names no device.
        DeviceUnavailableError: The device was asked for and is not usable.
    """
    resolved = resolve_device(device, probe)
    if resolved.kind in OPENVINO_KINDS:
        resolved = with_precision(resolved)
        logger.info("device %s", resolved)
    return resolved, RuntimeOptions(threads=threads, cache_dir=graph_cache().provider_folder)


def runner_from_bundle(
    bundle: Bundle, role: str, device: Device, options: RuntimeOptions | None = None
) -> Runner:
    """Load one graph of a bundle.

    `options` are of ONNX Runtime and OpenVINO; engines of TensorRT have theirs built in.

    Raises:
        BundleFormatError: The bundle has no such graph.
        BackendError: The graph cannot be loaded, or has no engine yet.
        DeviceUnavailableError: The device is not really there.
    """
    path = bundle.graph_path(role)
    graph = bundle.manifest.graphs[role]
    options = options or RuntimeOptions()
    asked_for, device = device, device_of_graph(bundle.manifest, role, device)
    if device.kind in OPENVINO_KINDS:
        shapes = native_shapes(bundle.manifest, role)
        compiled = graph_cache().find(openvino_key(graph, device, shapes))
        if compiled is None:
            return OpenVinoRunner(path, path, graph, device, options)
        return OpenVinoRunner(compiled.path, path, graph, device, options, shapes)
    flavour = FLAVOUR_FROM_KIND.get(device.kind)
    if flavour is None:
        if options.weights is None:
            options = replace(options, weights=policy_from_graph(bundle, role))
        if device != asked_for:  # no other graph would compute in what it touched of the arena
            options = replace(options, uses_arena=False)
        if device.kind is DeviceKind.CPU:
            path = bundle.graph_path_on_cpu(role)
            is_mapped = options.weights is WeightPolicy.MAPPED
            compiled = graph_cache().find(cpu_key(graph)) if is_mapped else None
            path = path if compiled is None else compiled.path
        return runner_from_onnx(path, device, options)
    api = api_from_flavour(flavour)
    cuda, scratch, pool = _gpu(device.index)
    capability = cuda.compute_capability(device.index)
    engine = engine_of_graph(graph_cache(), bundle, role, api, capability)
    if engine is None:
        raise BackendError(
            f"{bundle.manifest.name} has no engine of {role!r} for {api.flavour.value} "
            f"{api.version} and compute capability {capability}.",
            hint=f"Build it: lineup build {bundle.manifest.name} --backend {api.flavour.value}",
        )
    return TensorRtRunner(
        api,
        engine.path,
        graph,
        cuda,
        scratch,
        pool,
        weights=path if REFITTABLE in engine.key.flags else None,
    )


def uses_arena(bundle: Bundle, role: str, device: Device) -> bool:
    """Tell whether a graph's runs take their memory from the arena of the process."""
    is_mapped = policy_from_graph(bundle, role) is WeightPolicy.MAPPED
    return is_mapped and device.kind not in OPENVINO_KINDS


@cache
def _gpu(index: int) -> tuple[CudaRuntime, SharedScratch, DevicePool]:
    """One stream, one scratch buffer and one pool per GPU, for every engine of the process."""
    cuda = CudaRuntime(index)
    return cuda, SharedScratch(cuda), DevicePool(cuda)
