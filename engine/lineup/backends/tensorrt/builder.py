"""From an ONNX graph to a serialised engine."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from lineup.backends.graph_cache import Profile
from lineup.backends.tensorrt.api import Api, Flavour, collecting_logger
from lineup.backends.tensorrt.options import BuildOptions
from lineup.errors import BackendError, UsageError
from lineup.files import write_atomic

Progress: TypeAlias = Callable[[str, int, int], None]
"""Told the phase that a build is in, and how many steps of the outermost phase are done, of how
many."""


def build_engine(
    api: Api,
    onnx: Path,
    profile: Profile,
    options: BuildOptions,
    progress: Progress | None = None,
) -> Any:
    """Build an engine.

    Args:
        api: The TensorRT module.
        onnx: The graph; external data lies beside it.
        profile: Shapes of every input.
        options: See `BuildOptions`.
        progress: Told of every phase and step.

    Returns:
        TensorRT's buffer of the serialised engine; `memoryview` reads it without a copy.

    Raises:
        BackendError: The graph cannot be parsed or built; names the first node that failed.
        UsageError: The release lacks something that was asked for.
        KeyboardInterrupt: Ctrl-C; the build was stopped at its next step.
    """
    trt = api.module
    errors: list[str] = []
    trt_logger = collecting_logger(trt, errors)
    builder = trt.Builder(trt_logger)
    network = _network_from_onnx(api, builder, onnx, trt_logger)
    config = builder.create_builder_config()
    _configure(api, config, options)
    optimization_profile = builder.create_optimization_profile()
    for name, (shortest, optimal, longest) in profile.items():
        optimization_profile.set_shape(name, shortest, optimal, longest)
    config.add_optimization_profile(optimization_profile)
    timing_cache = _timing_cache(api, config, options.timing_cache)
    with _interruptible() as interrupted:
        config.progress_monitor = _monitor(trt, progress, interrupted)
        engine = builder.build_serialized_network(network, config)
    if interrupted.is_set():
        raise KeyboardInterrupt
    if engine is None:
        raise BackendError(
            f"{onnx}: {api.flavour.value} {api.version} cannot build it: "
            f"{errors[-1] if errors else 'no reason was given'}",
            hint=_hint(options),
        )
    if timing_cache is not None and options.timing_cache is not None:
        write_atomic(options.timing_cache, bytes(timing_cache.serialize()))
    return engine


def _hint(options: BuildOptions) -> str | None:
    if options.refittable:
        return "A plan without weights is compiled on the GPU that will run it; build it there."
    return None


def _network_from_onnx(api: Api, builder: Any, onnx: Path, trt_logger: Any) -> Any:
    trt = api.module
    # Deprecated and always on from TensorRT 11, where later releases may drop the name.
    typed = api.flag("NetworkDefinitionCreationFlag", "STRONGLY_TYPED")
    network = builder.create_network(0 if typed is None else 1 << int(typed))
    parser = trt.OnnxParser(network, trt_logger)
    if not parser.parse_from_file(str(onnx)):
        problems = [parser.get_error(index) for index in range(parser.num_errors)]
        raise BackendError(
            f"{onnx}: {api.flavour.value} {api.version} cannot parse it: "
            + "; ".join(f"node {one.node()}: {one.desc()}" for one in problems[:3])
        )
    return network


def _configure(api: Api, config: Any, options: BuildOptions) -> None:
    trt = api.module
    tf32 = api.flag("BuilderFlag", "TF32")
    if tf32 is not None:
        # The fp32 islands are there for their precision; TF32 keeps 10 of 23 mantissa bits.
        config.clear_flag(tf32)
    if options.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    wanted = {
        "WEIGHT_STREAMING": options.weight_streaming,
        "STRIP_PLAN": options.refittable,
        "VERSION_COMPATIBLE": options.version_compatible,
    }
    for name in (name for name, is_wanted in wanted.items() if is_wanted):
        config.set_flag(_required_flag(api, "BuilderFlag", name))
    if options.hardware_compatible:
        level = _required_flag(api, "HardwareCompatibilityLevel", "AMPERE_PLUS")
        config.hardware_compatibility_level = level
    if options.compute_capability is not None:
        _set_capability(api, config, options.compute_capability)


def _required_flag(api: Api, enumeration: str, name: str) -> Any:
    flag = api.flag(enumeration, name)
    if flag is None:
        raise UsageError(f"{api.flavour.value} {api.version} has no {enumeration}.{name}.")
    return flag


def _set_capability(api: Api, config: Any, capability: tuple[int, int]) -> None:
    if api.flavour is not Flavour.RTX:
        raise UsageError(
            f"{api.flavour.value} builds for the GPU that is present, not for another one.",
            hint="Leave --compute-capability away, or use --backend tensorrt-rtx.",
        )
    name = "SM{}{}".format(*capability)
    value = api.flag("ComputeCapability", name)
    if value is None:
        known = [one for one in dir(api.module.ComputeCapability) if one.startswith("SM")]
        raise UsageError(
            f"{api.flavour.value} {api.version} cannot build for compute capability "
            f"{capability[0]}.{capability[1]}.",
            hint=f"It knows {', '.join(f'{one[2:-1]}.{one[-1]}' for one in sorted(known))}.",
        )
    config.num_compute_capabilities = 1
    config.set_compute_capability(value, 0)


def _timing_cache(api: Api, config: Any, path: Path | None) -> Any | None:
    if path is None:
        return None
    if api.flavour is Flavour.RTX:
        raise UsageError(
            "tensorrt-rtx compiles kernels when an engine is loaded and keeps no timing cache.",
            hint="Leave --timing-cache away.",
        )
    cache = config.create_timing_cache(path.read_bytes() if path.exists() else b"")
    if not config.set_timing_cache(cache, False):  # False: another GPU's timings are refused
        raise UsageError(
            f"{path} holds timings of another GPU or release.",
            hint="Delete the file, or name another one.",
        )
    return cache


@contextlib.contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Turn Ctrl-C into an event for the length of the block.

    The builder runs outside of Python, and an exception must not cross it; its progress monitor
    reads the event and stops it.
    """
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted  # signals are the main thread's
        return
    before = signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def _monitor(trt: Any, progress: Progress | None, interrupted: threading.Event) -> Any:
    tell = progress or (lambda *_: None)

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Phases nest; the outermost tells how far the build is."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._outermost, self._done, self._steps = "", 0, 0

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            if parent is None:
                self._outermost, self._done, self._steps = phase, 0, steps
            tell(phase, self._done, self._steps)

        def step_complete(self, phase: str, step: int) -> bool:
            if phase == self._outermost:
                self._done = step + 1
                tell(phase, self._done, self._steps)
            return not interrupted.is_set()

        def phase_finish(self, phase: str) -> None:
            """Nothing: TensorRT calls it, and the next phase tells enough."""

    return Monitor()
