"""From a bundle's graph to a runner on the device that was asked for."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from lineup.backends.base import Runner
from lineup.backends.device import Device, DeviceKind, Probe, resolve_device
from lineup.backends.onnxrt import (
    RuntimeOptions,
    WeightPolicy,
    policy_from_size,
    probe_device,
    runner_from_onnx,
)
from lineup.backends.optimised import OptimisedGraphs
from lineup.backends.tensorrt.api import Flavour, api_from_flavour
from lineup.backends.tensorrt.arrays import DevicePool
from lineup.backends.tensorrt.cuda import CudaRuntime
from lineup.backends.tensorrt.engines import EngineCache
from lineup.backends.tensorrt.runner import TensorRtRunner
from lineup.backends.tensorrt.scratch import SharedScratch
from lineup.bundles.bundle import Bundle
from lineup.errors import BackendError, LineupError
from lineup.paths import home_dir

FLAVOUR_FROM_KIND = {
    DeviceKind.TENSORRT_NATIVE: Flavour.TENSORRT,
    DeviceKind.TENSORRT_RTX: Flavour.RTX,
}


def probe(device: Device) -> Probe:
    """Tell whether a device can really run a graph; see `resolve_device`."""
    flavour = FLAVOUR_FROM_KIND.get(device.kind)
    if flavour is None:
        return probe_device(device)
    try:
        api_from_flavour(flavour)
        CudaRuntime(device.index).close()
    except LineupError as error:
        return Probe(False, error.message)
    return Probe(True)


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
    return resolved, RuntimeOptions(threads=threads, cache_dir=home_dir() / "engines")


def runner_from_bundle(
    bundle: Bundle, role: str, device: Device, options: RuntimeOptions | None = None
) -> Runner:
    """Load one graph of a bundle.

    Args:
        bundle: A verified bundle.
        role: The graph, e.g. "unet".
        device: Where to run.
        options: Of ONNX Runtime; engines of TensorRT have theirs built in.

    Raises:
        BundleFormatError: The bundle has no such graph.
        BackendError: The graph cannot be loaded, or has no engine yet.
        DeviceUnavailableError: The device is not really there.
    """
    path = bundle.graph_path(role)
    flavour = FLAVOUR_FROM_KIND.get(device.kind)
    if flavour is None:
        options = _with_policy(bundle, role, options)
        if device.kind is DeviceKind.CPU and options.weights is WeightPolicy.MAPPED:
            path = _optimised_path(bundle, role) or path
        return runner_from_onnx(path, device, options)
    api = api_from_flavour(flavour)
    cuda, scratch, pool = _gpu(device.index)
    capability = cuda.compute_capability(device.index)
    engine = EngineCache(home_dir() / "engines").for_graph(bundle, role, api, capability)
    if engine is None:
        raise BackendError(
            f"{bundle.manifest.name} has no engine of {role!r} for {api.flavour.value} "
            f"{api.version} and compute capability {capability}.",
            hint=f"Build it: lineup build {bundle.manifest.name} --backend {api.flavour.value}",
        )
    return TensorRtRunner(
        api,
        engine.path,
        bundle.manifest.graphs[role],
        cuda,
        scratch,
        pool,
        weights=path if engine.key.refittable else None,
    )


def uses_arena(bundle: Bundle, role: str) -> bool:
    """Tell whether a graph's runs on the CPU take their memory from `lineup.backends.arena`."""
    return _policy(bundle, role) is WeightPolicy.MAPPED


def _policy(bundle: Bundle, role: str) -> WeightPolicy:
    return policy_from_size(sum(one.size_bytes for one in bundle.manifest.graphs[role].weights))


def _with_policy(bundle: Bundle, role: str, options: RuntimeOptions | None) -> RuntimeOptions:
    options = options or RuntimeOptions()
    if options.weights is not None:
        return options
    return replace(options, weights=_policy(bundle, role))


def _optimised_path(bundle: Bundle, role: str) -> Path | None:
    found = optimised_graphs().find(bundle, role)
    return None if found is None else found.path


def optimised_graphs() -> OptimisedGraphs:
    """Return the user's folder of graphs that were optimised ahead of time."""
    return OptimisedGraphs(home_dir() / "optimised")


@cache
def _gpu(index: int) -> tuple[CudaRuntime, SharedScratch, DevicePool]:
    """One stream, one scratch buffer and one pool per GPU, for every engine of the process."""
    cuda = CudaRuntime(index)
    return cuda, SharedScratch(cuda), DevicePool(cuda)
