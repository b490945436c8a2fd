"""ONNX Runtime: sessions with an explicit provider policy and lean memory settings."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import threading
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache, partial
from pathlib import Path

import onnxruntime as ort

from lineup.backends.base import Runner
from lineup.backends.device import Device, DeviceKind
from lineup.backends.onnxrt_runners import BoundRunner, DeviceMemory, OnnxRuntimeRunner
from lineup.errors import BackendError, DeviceUnavailableError, UsageError
from lineup.machine import SOME, keep_freed_memory, sums_bytes_exactly, threads_within_quota

logger = logging.getLogger(__name__)

_redirecting = threading.Lock()

_PROVIDER_FROM_KIND = {
    DeviceKind.CPU: "CPUExecutionProvider",
    DeviceKind.CUDA: "CUDAExecutionProvider",
    DeviceKind.TENSORRT: "TensorrtExecutionProvider",
}
FATAL_ONLY = 4
"""Severity of ONNX Runtime's log: what matters is raised or checked on the session."""

IDENTITY_GRAPH = (
    b'\x08\x08:;\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x05probeZ\x0f\n\x01x\x12\n\n\x08\x08\x01'
    b"\x12\x04\n\x02\x08\x01b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\x11"
)
"""y = Identity(x), float32 [1], opset 17: onnx.helper's model of one node, serialised."""

_ROWS_GRAPH = (
    b'\x08\x08:f\n*\n\x06values\n\x04rows\x12\x05taken"\x06Gather*\x0b\n\x04axis\x18\x00\xa0\x01\x02'
    b"\x12\x04rowsZ\x0e\n\x06values\x12\x04\n\x02\x08\x01Z\x13\n\x04rows\x12\x0b\n\t\x08\x07\x12\x05\n\x03\x12\x01n"
    b"b\r\n\x05taken\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\x11"
)
"""taken = Gather(values, rows) along axis 0, float32 of any shape, opset 17, made likewise."""

ARENA_BYTES = 1792 * 2**20
"""One block of memory for what large graphs compute on the CPU, shared by all their sessions.

A large graph asks for an activation of a hundred MiB and gives it back hundreds of times in a run.
From the system, every page of it comes anew and is cleared first; from one block, pages are touched
once in a process. SD-Turbo at 512 pixels on two cores, first and next runs: decoder 18.9 and 13.3 s
from the system (671 MiB), 13.2 and 12.9 s from the block (771 MiB); denoiser 8.8 and 5.2 s
(178 MiB), 5.5 and 5.2 s (173 MiB). In many small blocks, as ONNX Runtime's arena makes them by
itself, neighbours that are free do not join again: 1372 MiB for the same decoder.

The block is address space until it is touched. What was touched stays with the process: the next
graph, of whatever model, finds it there. Below 2 GiB, which ONNX Runtime's settings can say; graphs
that need more get a second block.
"""


class WeightPolicy(str, Enum):
    """What becomes of a graph's weights on the CPU.

    `MAPPED` runs the graph as it was exported and leaves the weights in their file: loading takes
    a fraction of a second, the pages are shared between processes, and the system may drop them.
    `OPTIMISED` lets ONNX Runtime fuse operators and choose layouts when it loads; changed weights
    are copied into private memory, which a small model can afford. `PACKED` copies all of them
    beside, in the order that products read them: without, a product in eight bits widens its
    weights in every run and takes three times as long.
    """

    MAPPED = "mapped"
    OPTIMISED = "optimised"
    PACKED = "packed"


MOST_THREADS = 1024
"""Beyond, systems refuse to start them."""

MAPPED_FROM_BYTES = 64 * 2**20
"""Weights from this size on stay in their file.

Measured with the denoiser of SD-Turbo (3.4 GB in fp32): optimising it takes 7 s and 3.3 GB of
private memory at load, and makes a step a tenth faster.
"""


def policy_from_size(weights_bytes: int) -> WeightPolicy:
    """Return the policy for a graph with so many bytes of weights."""
    is_large = weights_bytes >= MAPPED_FROM_BYTES
    return WeightPolicy.MAPPED if is_large else WeightPolicy.OPTIMISED


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """How a session uses the machine.

    Attributes:
        threads: Threads inside one operator on the CPU, at most `MOST_THREADS`; 0 takes every core
            that a quota leaves.
        weights: What becomes of the weights on the CPU; None decides by their size.
        cache_dir: Where TensorRT keeps compiled engines; None compiles anew in every process.
        cuda_graphs: Whether runs of the same shapes are recorded and replayed under CUDA, where
            the graph allows.
        uses_arena: Whether large graphs on the CPU compute in the block of the process; see
            `ARENA_BYTES`.
        runs_at_once: Runs that threads of the caller start together; OpenVINO has `threads` for
            each, ONNX Runtime takes as many as come.

    Raises:
        UsageError: So many threads cannot be started.
    """

    threads: int = 0
    weights: WeightPolicy | None = None
    cache_dir: Path | None = None
    cuda_graphs: bool = True
    uses_arena: bool = True
    runs_at_once: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.threads <= MOST_THREADS:
            raise UsageError(
                f"{self.threads} threads were asked for, expected 0 to {MOST_THREADS}."
            )


def providers_from_device(
    device: Device, options: RuntimeOptions | None = None
) -> list[tuple[str, dict[str, str]]]:
    """Return ONNX Runtime's provider list for a device, most wanted first.

    The CPU closes every list, for the few operators (shape arithmetic) that a GPU provider leaves
    to it; whether the wanted provider is really active is checked on the session.
    """
    options = options or RuntimeOptions()
    cpu: tuple[str, dict[str, str]] = (_PROVIDER_FROM_KIND[DeviceKind.CPU], {})
    if device.kind is DeviceKind.CPU:
        return [cpu]
    cuda_options = {
        "device_id": str(device.index),
        # Grow by what is asked for; the default doubles, and the slack is never given back.
        "arena_extend_strategy": "kSameAsRequested",
        # The fp32 islands are there for their precision; TF32 would keep 10 of 23 mantissa bits.
        "use_tf32": "0",
    }
    cuda = (_PROVIDER_FROM_KIND[DeviceKind.CUDA], cuda_options)
    if device.kind is DeviceKind.CUDA:
        if options.cuda_graphs:
            cuda_options["enable_cuda_graph"] = "1"
        return [cuda, cpu]
    # CUDA graphs are left off: older releases record one for a session, whatever the shapes.
    tensorrt_options = {
        "device_id": str(device.index),
        # Subgraphs of a session run one after the other, in the same scratch memory.
        "trt_context_memory_sharing_enable": "1",
    }
    if options.cache_dir is not None:
        for kind in ("engine", "timing"):
            tensorrt_options[f"trt_{kind}_cache_enable"] = "1"
            tensorrt_options[f"trt_{kind}_cache_path"] = str(options.cache_dir)
    return [(_PROVIDER_FROM_KIND[DeviceKind.TENSORRT], tensorrt_options), cuda, cpu]


def session_options_from(options: RuntimeOptions, device: Device) -> ort.SessionOptions:
    """Return session options for lean memory; see the comments for what each one saves."""
    settings = ort.SessionOptions()
    settings.log_severity_level = FATAL_ONLY
    settings.intra_op_num_threads = options.threads or threads_within_quota()
    settings.inter_op_num_threads = 1  # the graphs are chains; parallel branches cost memory
    # Sessions on a GPU keep an arena each: in a shared one, a CUDA graph of one session would write
    # to memory that another has been given since.
    # Spinning threads would take the cores from the threads that decode the next images.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if device.kind is DeviceKind.CPU:
        if not sums_bytes_exactly():
            # Instructions that do, at twice the time: not for processors that need it not.
            settings.add_session_config_entry("session.x64quantprecision", "1")
        # An arena of its own would keep its high-water mark; without one, memory returns after a
        # run, and from the second run of a shape on ONNX Runtime asks for it in one block.
        settings.enable_cpu_mem_arena = False
        settings.enable_mem_pattern = True
        # Ahead of the runs, ONNX Runtime looks for a value whose memory another can have: for every
        # node through all that are free, which is most of the time that a large graph takes to
        # open. Few are found, as few shapes are known then, and those are held for too long.
        settings.enable_mem_reuse = False
        # Prepacking copies every weight into private memory; unpacked, external data stays
        # mapped from its file: shared between processes, and evictable.
        is_packed = options.weights is WeightPolicy.PACKED
        settings.add_session_config_entry("session.disable_prepacking", "0" if is_packed else "1")
        if options.weights is WeightPolicy.MAPPED:
            settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        if options.weights is WeightPolicy.MAPPED and options.uses_arena:
            _register_arena()
            settings.enable_cpu_mem_arena = True
            settings.add_session_config_entry("session.use_env_allocators", "1")
            # With a pattern, ONNX Runtime would ask for a block for each run in place of its parts.
            settings.enable_mem_pattern = False
    return settings


@cache
def _register_arena() -> None:
    """Give ONNX Runtime the block, once; where the system refuses so much, it asks for less."""
    arena = ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    cpu = ort.OrtMemoryInfo("Cpu", arena, 0, ort.OrtMemType.DEFAULT)
    by_doubling, default = 0, -1
    settings = ort.OrtArenaCfg(
        {
            "max_mem": 0,
            "arena_extend_strategy": by_doubling,
            "initial_chunk_size_bytes": ARENA_BYTES,
            "max_dead_bytes_per_chunk": default,
            "initial_growth_chunk_size_bytes": default,
        }
    )
    ort.create_and_register_allocator(cpu, settings)


def probe_device(device: Device) -> str | None:
    """Create a one-node session on the device and look at where it really runs; see `Probe`."""
    wanted = _PROVIDER_FROM_KIND[device.kind]
    if wanted not in ort.get_available_providers():
        return f"this onnxruntime ({ort.__version__}) was built without {wanted}"
    try:
        session = _create_session(IDENTITY_GRAPH, RuntimeOptions(cuda_graphs=False), device)
    except Exception as error:  # onnxruntime raises bare RuntimeError subclasses of its own
        return _reason_from_error(error)
    if wanted in session.get_providers():
        return None
    return f"{wanted} did not start; a GPU, its driver, or the CUDA and cuDNN libraries are missing"


def runner_from_onnx(path: Path, device: Device, options: RuntimeOptions | None = None) -> Runner:
    """Load a graph file.

    Args:
        path: The .onnx file; external data lies beside it.
        device: Where to run; a provider that is not really active is an error.
        options: Threads and caches; defaults to every core and no engine cache.

    Raises:
        BackendError: ONNX Runtime cannot load the graph.
        DeviceUnavailableError: The session came back on another device.
    """
    options = options or RuntimeOptions()
    if device.kind is DeviceKind.CPU and options.weights is WeightPolicy.MAPPED:
        keep_freed_memory(SOME)
    if device.kind is DeviceKind.TENSORRT and options.cache_dir is not None:
        options.cache_dir.mkdir(parents=True, exist_ok=True)  # the provider makes no parents
    try:
        session, records = _loaded_session(path, options, device)
    except Exception as error:  # onnxruntime raises bare RuntimeError subclasses of its own
        raise BackendError(f"{path}: onnxruntime cannot load it: {error}") from error
    active = session.get_providers()
    if _PROVIDER_FROM_KIND[device.kind] not in active:
        raise DeviceUnavailableError(
            f"{path.name} was to run on {device}, but the session uses {', '.join(active)}.",
            hint="See what `lineup doctor` finds, or use --device cpu.",
        )
    logger.debug("%s on %s", path.name, ", ".join(active))
    if device.kind is DeviceKind.CPU:
        return OnnxRuntimeRunner(session)
    return BoundRunner(session, _gpu_memory(device), records=records)


def _loaded_session(
    path: Path, options: RuntimeOptions, device: Device
) -> tuple[ort.InferenceSession, bool]:
    """Load a graph; also tell whether the session can record CUDA graphs.

    ONNX Runtime refuses to make such a session where a node that computes is left to the CPU.
    """
    if device.kind is DeviceKind.CUDA and options.cuda_graphs:
        try:
            return _create_session(str(path), options, device), True
        except Exception as error:  # whatever else is wrong comes again, and is raised then
            logger.info("%s runs without CUDA graphs: %s", path.name, _reason_from_error(error))
    return _create_session(str(path), replace(options, cuda_graphs=False), device), False


@cache
def _gpu_memory(device: Device) -> DeviceMemory:
    """Return a GPU's memory, "cuda" also under TensorRT; sessions there share what takes rows."""
    options = RuntimeOptions(cuda_graphs=False)
    open_gather = partial(_create_session, _ROWS_GRAPH, options, device)
    return DeviceMemory("cuda", device.index, open_gather)


def _create_session(
    model: str | bytes, options: RuntimeOptions, device: Device
) -> ort.InferenceSession:
    """Create a session; what onnxruntime prints from Python goes to the log, not to stdout."""
    ort.set_default_logger_severity(FATAL_ONLY)
    create = partial(
        ort.InferenceSession,
        model,
        session_options_from(options, device),
        providers=providers_from_device(device, options),
        # Retrying on other providers in silence is what the device policy forbids.
        enable_fallback=0,
    )
    if device.kind is DeviceKind.CPU:  # prints nothing
        return create()
    printed = io.StringIO()
    # Of two threads that redirect at once, one would leave the other's target behind.
    with _redirecting, contextlib.redirect_stdout(printed):
        if hasattr(ort, "preload_dlls"):
            # Finds CUDA and cuDNN in NVIDIA's Python packages, where no loader path leads.
            ort.preload_dlls()
        session = create()
    if printed.getvalue():
        logger.debug("onnxruntime: %s", printed.getvalue().strip())
    return session


def _reason_from_error(error: Exception) -> str:
    """Return the first line of onnxruntime's message, without its source locations."""
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return re.sub(r"^.*?\.cc:\d+ .*?\) ", "", first_line)
