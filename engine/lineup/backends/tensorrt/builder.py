"""From an ONNX graph to a serialised engine: options, the shapes of every input, the build."""

from __future__ import annotations

import contextlib
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from lineup.backends.graph_cache import Profile
from lineup.backends.tensorrt.api import Api, Flavour, collecting_logger
from lineup.bundles.manifest import Graph
from lineup.errors import BackendError, UsageError
from lineup.files import write_atomic

Progress: TypeAlias = Callable[[str, int, int], None]
"""Told the phase that a build is in, and how many steps of the outermost phase are done, of how
many."""


LATENT_AXES = frozenset({"rows", "columns"})
"""Free axes that follow from the size of a picture, not from how many there are."""


@dataclass(frozen=True, slots=True)
class Range:
    """Lengths of a free axis that an engine accepts.

    Attributes:
        minimum: Shortest.
        optimum: The length that kernels are chosen for.
        maximum: Longest.
    """

    minimum: int
    optimum: int
    maximum: int

    def __post_init__(self) -> None:
        if not 1 <= self.minimum <= self.optimum <= self.maximum:
            raise UsageError(
                f"Range {self.minimum}:{self.optimum}:{self.maximum} is not rising from 1.",
                hint="Write MIN:MAX or MIN:OPT:MAX, e.g. 1:4.",
            )


def range_from_text(text: str) -> Range:
    """Parse `N`, `MIN:MAX` (optimum: the maximum) or `MIN:OPT:MAX`.

    Raises:
        UsageError: The text is none of these, or is not rising.
    """
    parts = text.split(":")
    if not 1 <= len(parts) <= 3 or not all(part.isdecimal() for part in parts):
        raise UsageError(
            f"Batch {text!r} cannot be read.", hint="Write N, MIN:MAX or MIN:OPT:MAX, e.g. 1:4."
        )
    numbers = [int(part) for part in parts]
    return Range(numbers[0], numbers[-1] if len(parts) < 3 else numbers[1], numbers[-1])


def capability_from_text(text: str) -> tuple[int, int]:
    """Parse a compute capability, e.g. "8.6".

    Raises:
        UsageError: The text is not a pair of numbers.
    """
    match = re.fullmatch(r"(\d+)\.(\d)", text)
    if match is None:
        raise UsageError(
            f"Compute capability {text!r} cannot be read.",
            hint="Write it as NVIDIA does, e.g. 8.6 for an RTX 3090 or 8.9 for an RTX 4090.",
        )
    return int(match[1]), int(match[2])


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How engines are built.

    Attributes:
        flavour: The TensorRT product.
        compute_capability: Of the GPU that will run the engine; None takes the one present.
        batch: Lengths of the axes that count images, tiles, prompts or sequences; None takes what
            the bundle names, else one at a time.
        axes: Ranges of further free axes by name; they win over `batch`.
        workspace_mib: Most scratch memory of one layer; None leaves it to the builder.
        timing_cache: File of kernel timings, read before and written after; None keeps none.
        weight_streaming: Whether weights may stay in host memory and be streamed at run time.
        refittable: Whether the plan is stripped of weights, which are put in when it is loaded;
            bundles that differ in weights alone share such a plan.
        version_compatible: Whether later TensorRT releases may load it.
        hardware_compatible: Whether later GPU generations may load it.
    """

    flavour: Flavour
    compute_capability: tuple[int, int] | None = None
    batch: Range | None = None
    axes: Mapping[str, Range] = field(default_factory=dict)
    workspace_mib: int | None = None
    timing_cache: Path | None = None
    weight_streaming: bool = False
    refittable: bool = False
    version_compatible: bool = False
    hardware_compatible: bool = False


def profile_from_graph(graph: Graph, options: BuildOptions) -> Profile:
    """Return the shapes of every input of a graph.

    Raises:
        UsageError: An axis that follows from the picture's size has no range in `options.axes`.
    """
    profile: Profile = {}
    for spec in graph.inputs:
        ranges = [_range_of_axis(length, options) for length in spec.shape]
        profile[spec.name] = (
            tuple(one.minimum for one in ranges),
            tuple(one.optimum for one in ranges),
            tuple(one.maximum for one in ranges),
        )
    return profile


def _range_of_axis(length: int | str, options: BuildOptions) -> Range:
    if isinstance(length, int):
        return Range(length, length, length)
    if length in options.axes:
        return options.axes[length]
    if length in LATENT_AXES:
        raise UsageError(
            f"The axis {length!r} is free and no range was given for it.",
            hint=f"Give one, e.g. --axis {length}=64 for pictures of 512 pixels.",
        )
    return options.batch or Range(1, 1, 1)


def build_engine(
    api: Api,
    onnx: Path,
    profile: Profile,
    options: BuildOptions,
    progress: Progress | None = None,
) -> Any:
    """Build an engine.

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
            hint="A plan without weights is compiled on the GPU that will run it; build it there."
            if options.refittable
            else None,
        )
    if timing_cache is not None and options.timing_cache is not None:
        write_atomic(options.timing_cache, bytes(timing_cache.serialize()))
    return engine


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
    for name, is_wanted in wanted.items():
        if is_wanted:
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
