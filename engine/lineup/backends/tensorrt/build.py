"""Engines of a bundle: taken from the cache where they fit, built where not."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from lineup.backends.tensorrt.api import Api
from lineup.backends.tensorrt.builder import BuildProgress, build_engine
from lineup.backends.tensorrt.cuda import CudaRuntime
from lineup.backends.tensorrt.engines import CachedEngine, EngineCache, key_from_bundle
from lineup.backends.tensorrt.options import BuildOptions, Range, profile_from_graph
from lineup.bundles.bundle import Bundle
from lineup.bundles.external import operator_domains
from lineup.bundles.manifest import Manifest
from lineup.errors import UsageError

STANDARD_DOMAINS = frozenset({"", "ai.onnx"})
"""Names of ONNX's own operator set."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BuiltEngine:
    """One graph's engine.

    Attributes:
        role: The graph.
        engine: Its engine in the cache.
        was_cached: Whether it was there already.
    """

    role: str
    engine: CachedEngine
    was_cached: bool


def build_bundle(
    bundle: Bundle,
    api: Api,
    options: BuildOptions,
    cache: EngineCache,
    *,
    rebuild: bool = False,
    progress_of: Callable[[str], BuildProgress] | None = None,
) -> Iterator[BuiltEngine]:
    """Yield an engine for every graph of a bundle, as each is ready.

    Args:
        bundle: A verified bundle.
        api: The TensorRT module.
        options: How to build; for a generator, free axes of latents and images default to its
            native size, and the batch to the one that the bundle was exported for.
        cache: Where engines are kept.
        rebuild: Whether to build even where the cache has a fitting engine.
        progress_of: Returns what is told of the progress of one graph, by role.

    Raises:
        BackendError: A graph cannot be built, or the cache cannot be written.
        UsageError: The bundle is made for CPUs, or the options do not fit it or the release.
    """
    _refuse_runtime_operators(bundle)
    options = _with_defaults(options, bundle.manifest)
    capability = compute_capability_of(options)
    for role, graph in bundle.manifest.graphs.items():
        profile = profile_from_graph(graph, options)
        key = key_from_bundle(bundle, role, api, options, profile, capability)
        cached = None if rebuild else cache.find(key)
        if cached is not None:
            yield BuiltEngine(role, cached, was_cached=True)
            continue
        progress = None if progress_of is None else progress_of(role)
        start = time.perf_counter()
        plan = build_engine(api, bundle.graph_path(role), profile, options, progress)
        seconds = time.perf_counter() - start
        engine = cache.write(
            key, plan, build_seconds=seconds, bundle=bundle.manifest.name, role=role
        )
        logger.info("%s: %s built in %.1f s", bundle.manifest.name, role, seconds)
        yield BuiltEngine(role, engine, was_cached=False)


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
