"""Compiling graphs ahead of time: with TensorRT or OpenVINO, or for this CPU with ONNX Runtime."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import onnxruntime as ort

from lineup.backends.device import Device, DeviceKind
from lineup.backends.graph_cache import (
    CompiledGraph,
    GraphCache,
    GraphKey,
    Profile,
    graph_digest,
)
from lineup.backends.onnxrt import (
    RuntimeOptions,
    WeightPolicy,
    policy_from_size,
    session_options_from,
)
from lineup.backends.openvino import Shapes, openvino_key, write_blob
from lineup.backends.tensorrt.api import Api
from lineup.backends.tensorrt.builder import (
    BuildOptions,
    Progress,
    Range,
    build_engine,
    profile_from_graph,
)
from lineup.backends.tensorrt.cuda import CudaRuntime
from lineup.bundles.bundle import Bundle
from lineup.bundles.external import (
    has_int8_weights,
    has_operator,
    operator_domains,
    structure_digest,
)
from lineup.bundles.manifest import BundleKind, Graph, Manifest
from lineup.errors import BackendError, UsageError
from lineup.machine import machine_digest

CPU_BACKEND = "onnxruntime"

RUNTIME_DOMAIN = "com.microsoft"
"""ONNX Runtime's own operators, which no other backend knows."""

BLOCKWISE_PRODUCT = "MatMulNBits"
"""Its product of weights in few bits, a scale for each block of a row."""

INTEGER_PRODUCT = "MatMulIntegerToFloat"
"""Its product of bytes."""

STANDARD_DOMAINS = frozenset({"", "ai.onnx"})
"""Names of ONNX's own operator set."""

REFITTABLE = "refittable"
"""Flag of plans without weights."""

GRAPH_NAME, WEIGHTS_NAME, PLAN_NAME = "graph.onnx", "weights.bin", "engine.plan"
_INLINE_BYTES = "1024"
_SPARE_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class BuiltGraph:
    """One graph of a bundle, compiled.

    Attributes:
        role: The graph.
        compiled: What the cache has of it; None where it is small enough to be optimised whenever
            it is loaded, or has its weights in eight bits and runs as it was exported.
        was_cached: Whether it was there already.
    """

    role: str
    compiled: CompiledGraph | None
    was_cached: bool = False


def build_with_tensorrt(
    bundle: Bundle,
    api: Api,
    options: BuildOptions,
    cache: GraphCache,
    *,
    rebuild: bool = False,
    progress_of: Callable[[str], Progress] | None = None,
) -> Iterator[BuiltGraph]:
    """Yield an engine for every graph of a bundle, as each is ready.

    For a generator, free axes of latents and images default to its native size, and the batch to
    the one that the bundle was exported for. `progress_of` returns what is told of one role.

    Raises:
        BackendError: A graph cannot be built, or the cache cannot be written.
        UsageError: The bundle is made for CPUs, or the options do not fit it or the release.
    """
    _refuse_runtime_operators(bundle)
    options = _with_defaults(options, bundle.manifest)
    capability = compute_capability_of(options)
    for role, graph in bundle.manifest.graphs.items():
        profile = profile_from_graph(graph, options)
        key = engine_key(bundle, role, api, options, profile, capability)
        progress = None if progress_of is None else progress_of(role)
        build = partial(build_engine, api, bundle.graph_path(role), profile, options, progress)
        yield _found_or_added(cache, key, bundle, role, partial(_write_plan, build), rebuild)


def build_for_cpu(
    bundle: Bundle, cache: GraphCache, *, rebuild: bool = False
) -> Iterator[BuiltGraph]:
    """Yield every graph of a bundle, the large ones optimised for this CPU, as each is ready.

    ONNX Runtime fuses operators and reorders the weights of convolutions for the vector width of
    the processor. Done at load, that takes seconds and a private copy of all weights; done once and
    written down, the result is mapped from its file like any other graph. Measured with SD-Turbo at
    512 pixels on two cores with AVX-512: denoiser 4.5 s a step instead of 4.75 (and the same as
    after optimising at load, with 0.2 GB instead of 3.6), decoder 13 s instead of 16.5.

    Source: "Graph Optimizations in ONNX Runtime", offline mode; layout optimisations are bound to
    the hardware they were made on, so the processor is part of the key.

    Raises:
        BackendError: ONNX Runtime cannot optimise a graph, or it cannot be kept.
    """
    for role in bundle.manifest.graphs:
        yield _built_for_cpu(bundle, role, cache, rebuild)


def build_with_openvino(
    bundle: Bundle, device: Device, cache: GraphCache, *, rebuild: bool = False
) -> Iterator[BuiltGraph]:
    """Yield every graph of a bundle, compiled for a device of OpenVINO, as each is ready.

    Those that ONNX Runtime runs beside it are optimised for that: see `device_of_graph`.

    Raises:
        BackendError: OpenVINO cannot compile a graph, or it cannot be kept.
        DeviceUnavailableError: The device cannot be used.
    """
    device = device_of_bundle(bundle.manifest, device)
    for role, graph in bundle.manifest.graphs.items():
        if device_of_graph(bundle.manifest, role, device) != device:
            yield _built_for_cpu(bundle, role, cache, rebuild)
            continue
        shapes = native_shapes(bundle.manifest, role)
        key = openvino_key(graph, device, shapes)
        compile_to = partial(_write_blob, bundle, role, device, shapes)
        yield _found_or_added(cache, key, bundle, role, compile_to, rebuild)


def device_of_bundle(manifest: Manifest, device: Device) -> Device:
    """Return the device in the precision that a bundle's graphs are run in: f32 for some.

    Fingerprints are compared with stored numbers. Captions are words, and a word changes or does
    not: in bf16 16 of 200 captions of the pocket set are other ones.
    """
    is_exact = manifest.kind in {BundleKind.FINGERPRINT, BundleKind.CAPTIONER}
    return device.in_f32 if is_exact else device


def device_of_graph(manifest: Manifest, role: str, device: Device) -> Device:
    """Return where a graph runs: on the device asked for, if it is no text encoder of OpenVINO's.

    On a processor OpenVINO packs all weights of a graph into private memory at its first run. A
    prompt is one pass over a text encoder's, and so does not earn that back, where ONNX Runtime
    takes them from the file: SD-Turbo's takes 0.2 s a prompt then and not 0.1, but 0.5 s and
    560 MiB less at the first.
    """
    encoders = () if manifest.generation is None else manifest.generation.text_encoders
    if device.kind is DeviceKind.OPENVINO and role in {one.role for one in encoders}:
        return Device(DeviceKind.CPU)
    return device


def native_shapes(manifest: Manifest, role: str) -> Shapes:
    """Return the shapes with which a generator's graph runs for one image at its native size.

    Empty for other kinds of bundle, whose batches follow from what there is to do.
    """
    generation = manifest.generation
    if generation is None:
        return {}
    inputs = {spec.name: spec.shape for spec in manifest.graphs[role].inputs}
    # Guidance that is no input of the denoiser takes two rows a step: with the prompt and without.
    is_doubled = generation.guidance > 1 and "guidance_embedding" not in inputs
    images = 2 if is_doubled and "timestep" in inputs else 1
    lengths = {**generation.native_axes, "images": images}
    return {
        name: tuple(lengths.get(one, 1) if isinstance(one, str) else one for one in shape)
        for name, shape in inputs.items()
    }


def wants_packed_weights(path: Path) -> bool:
    """Tell whether a graph has products that compute in eight bits from packed weights alone."""
    # Few graphs have operators of the domain, and which ones takes fifty times as long to find.
    if RUNTIME_DOMAIN not in operator_domains(path):
        return False
    return has_operator(path, BLOCKWISE_PRODUCT, INTEGER_PRODUCT)


def policy_from_graph(bundle: Bundle, role: str) -> WeightPolicy:
    """Return what becomes of a graph's weights on the CPU, by their size and their products."""
    if wants_packed_weights(bundle.graph_path(role)):
        return WeightPolicy.PACKED
    return policy_from_size(sum(one.size_bytes for one in bundle.manifest.graphs[role].weights))


def cpu_key(graph: Graph) -> GraphKey:
    """Return the key of a graph that is optimised for this machine's processor."""
    return GraphKey(
        graph=graph_digest(graph),
        backend=CPU_BACKEND,
        release=ort.__version__,
        machine=machine_digest(),
    )


def engine_key(
    bundle: Bundle,
    role: str,
    api: Api,
    options: BuildOptions,
    profile: Profile,
    compute_capability: str,
) -> GraphKey:
    """Return the key of one graph of a bundle, built by TensorRT with these options."""
    flags = {
        REFITTABLE: options.refittable,
        "weight-streaming": options.weight_streaming,
        "version-compatible": options.version_compatible,
        "hardware-compatible": options.hardware_compatible,
        f"workspace-{options.workspace_mib}-mib": options.workspace_mib is not None,
    }
    return GraphKey(
        graph=structure_digest(bundle.graph_path(role))
        if options.refittable
        else graph_digest(bundle.manifest.graphs[role]),
        backend=api.flavour.value,
        release=api.version,
        machine=compute_capability,
        profile=profile,
        flags=tuple(name for name, is_set in flags.items() if is_set),
    )


def engine_of_graph(
    cache: GraphCache, bundle: Bundle, role: str, api: Api, capability: str
) -> CompiledGraph | None:
    """Return the engine of a graph that takes the largest runs; None when there is none."""
    fitting = (api.flavour.value, api.version, capability)
    digests = {
        True: structure_digest(bundle.graph_path(role)),
        False: graph_digest(bundle.manifest.graphs[role]),
    }
    engines = [
        one
        for one in cache.list()
        if (one.key.backend, one.key.release, one.key.machine) == fitting
        and one.key.graph == digests[REFITTABLE in one.key.flags]
    ]
    return max(engines, key=lambda one: _largest_run(one.key.profile), default=None)


def compute_capability_of(options: BuildOptions) -> str:
    """Return the compute capability to build for, e.g. "8.6"; by default that of GPU 0.

    Raises:
        DeviceUnavailableError: None was given and no GPU is present.
    """
    if options.compute_capability is not None:
        return "{}.{}".format(*options.compute_capability)
    cuda = CudaRuntime()
    try:
        return cuda.compute_capability(0)
    finally:
        cuda.close()


def _largest_run(profile: Profile) -> int:
    return max(math.prod(longest) for _, _, longest in profile.values())


def _refuse_runtime_operators(bundle: Bundle) -> None:
    """Refuse a bundle before hours are spent on its other graphs."""
    for role in bundle.manifest.graphs:
        foreign = operator_domains(bundle.graph_path(role)) - STANDARD_DOMAINS
        if foreign:
            raise UsageError(
                f"{bundle.manifest.name} is made for CPUs: its graph {role!r} uses operators of "
                f"{', '.join(sorted(foreign))}, which TensorRT lacks.",
                hint="Export the model with --precision fp16 and build that bundle.",
            )


def _with_defaults(options: BuildOptions, manifest: Manifest) -> BuildOptions:
    named, generation = manifest.batch, manifest.generation
    if options.batch is None and named is not None:
        batch = Range(named.minimum, named.maximum, named.maximum)
        options = replace(options, batch=batch)
    if generation is None:
        return options
    native = {name: Range(size, size, size) for name, size in generation.native_axes.items()}
    return replace(options, axes={**native, **options.axes})


def _found_or_added(
    cache: GraphCache,
    key: GraphKey,
    bundle: Bundle,
    role: str,
    compile_to: Callable[[Path], Path],
    rebuild: bool,
) -> BuiltGraph:
    cached = None if rebuild else cache.find(key)
    if cached is not None:
        return BuiltGraph(role, cached, was_cached=True)
    added = cache.add(key, bundle=bundle.manifest.name, role=role, compile_to=compile_to)
    return BuiltGraph(role, added)


def _built_for_cpu(bundle: Bundle, role: str, cache: GraphCache, rebuild: bool) -> BuiltGraph:
    graph = bundle.manifest.graphs[role]
    is_mapped = policy_from_graph(bundle, role) is WeightPolicy.MAPPED
    # Of widened weights the optimiser makes products of eight bits, in an order of its own.
    if not is_mapped or has_int8_weights(bundle.graph_path(role)):
        return BuiltGraph(role, None)
    compile_to = partial(_write_optimised, bundle, role)
    return _found_or_added(cache, cpu_key(graph), bundle, role, compile_to, rebuild)


def _write_plan(build: Callable[[], Any], folder: Path) -> Path:
    with memoryview(build()) as content:
        (folder / PLAN_NAME).write_bytes(content)
    return folder / PLAN_NAME


def _write_blob(bundle: Bundle, role: str, device: Device, shapes: Shapes, folder: Path) -> Path:
    _require_room(bundle, role, folder)
    return write_blob(bundle.graph_path(role), device, folder, shapes)


def _write_optimised(bundle: Bundle, role: str, folder: Path) -> Path:
    _require_room(bundle, role, folder)
    source, target = bundle.graph_path_on_cpu(role), folder / GRAPH_NAME
    # Never packed: that is not part of what is written, and would copy the weights once more.
    as_run = RuntimeOptions(weights=WeightPolicy.OPTIMISED)
    options = session_options_from(as_run, Device(DeviceKind.CPU))
    options.optimized_model_filepath = str(target)
    for name, value in {
        "session.optimized_model_external_initializers_file_name": WEIGHTS_NAME,
        "session.optimized_model_external_initializers_min_size_in_bytes": _INLINE_BYTES,
    }.items():
        options.add_session_config_entry(name, value)
    try:
        ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises bare RuntimeError subclasses of its own
        raise BackendError(f"{source}: onnxruntime cannot optimise it: {error}") from error
    return target


def _require_room(bundle: Bundle, role: str, folder: Path) -> None:
    """Refuse before minutes are spent: what is written is about as large as the weights."""
    needed = sum(one.size_bytes for one in bundle.manifest.graphs[role].weights) + _SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise BackendError(
            f"{needed / 1e9:.1f} GB are needed to keep {bundle.manifest.name} {role} compiled, "
            f"{free / 1e9:.1f} GB are free.",
            hint="Make room, or set LINEUP_HOME to a folder with more.",
        )
