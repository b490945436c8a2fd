"""A TensorRT module and a GPU that exist in memory only, with the interface of the real ones."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lineup.backends.tensorrt.api import Api, Flavour, api_from_module
from lineup.bundles.manifest import FileRecord, Graph, Parity, TensorSpec


class FakeCuda:
    """Device memory is host memory; what is copied, freed, captured and launched is recorded."""

    def __init__(self) -> None:
        self.stream = 7
        self.memory: dict[int, Any] = {}
        self.log: list[str] = []
        self._graphs: list[Callable[[], bool]] = []

    def allocate(self, size_bytes: int) -> int:
        buffer = ctypes.create_string_buffer(size_bytes)
        self.memory[ctypes.addressof(buffer)] = buffer
        self.log.append(f"allocate {size_bytes}")
        return ctypes.addressof(buffer)

    def free(self, address: int) -> None:
        del self.memory[address]
        self.log.append("free")

    def upload(self, address: int, array: Any) -> None:
        ctypes.memmove(address, array.ctypes.data, array.nbytes)

    def download(self, array: Any, address: int) -> None:
        ctypes.memmove(array.ctypes.data, address, array.nbytes)

    def copy(self, target: int, source: int, size_bytes: int) -> None:
        ctypes.memmove(target, source, size_bytes)

    def synchronize(self) -> None:
        self.log.append("synchronize")

    def capture(self, enqueue: Callable[[], bool]) -> int | None:
        self.log.append("capture")
        self._graphs.append(enqueue)
        return len(self._graphs) - 1

    def launch(self, graph: int) -> None:
        self.log.append("launch")
        self._graphs[graph]()

    def close(self) -> None:
        self.log.append("close")


class FakeContext:
    """y = 2 x, for x of shape (n, 3) and n up to 4."""

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.addresses: dict[str, int] = {}
        self.scratch = (0, 0)
        self.runs = 0

    def set_input_shape(self, name: str, shape: Any) -> bool:
        self.shape = tuple(shape)
        return 1 <= self.shape[0] <= 4

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def infer_shapes(self) -> list[str]:
        return []

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shape

    def update_device_memory_size_for_shapes(self) -> int:
        return 100 * self.shape[0]

    def set_device_memory(self, address: int, size_bytes: int) -> None:
        self.scratch = (address, size_bytes)

    def execute_async_v3(self, stream: int) -> bool:
        count = int(np.prod(self.shape))
        x = np.ctypeslib.as_array((ctypes.c_float * count).from_address(self.addresses["x"]))
        y = np.ctypeslib.as_array((ctypes.c_float * count).from_address(self.addresses["y"]))
        y[:] = 2 * x
        self.runs += 1
        return True


class FakeEngine:
    num_io_tensors = 2
    streamable_weights_size = 0

    def __init__(self) -> None:
        self.context = FakeContext()
        self.strategy: Any = None

    def get_tensor_name(self, index: int) -> str:
        return ("x", "y")[index]

    def create_execution_context(self, strategy: Any) -> FakeContext:
        self.strategy = strategy
        return self.context


class FakeLogger:
    INTERNAL_ERROR, ERROR, WARNING = 0, 1, 2

    def log(self, severity: int, message: str) -> None:
        """Nothing: subclasses collect."""


class FakeConfig:
    def __init__(self) -> None:
        self.flags: set[str] = {"TF32"}
        self.pools: dict[str, int] = {}
        self.capability: Any = None
        self.profiles: list[dict[str, Any]] = []
        self.progress_monitor: Any = None
        self.num_compute_capabilities = 0
        self.hardware_compatibility_level: Any = None
        self.is_cache_foreign = False

    def set_flag(self, flag: Any) -> None:
        self.flags.add(flag.name)

    def clear_flag(self, flag: Any) -> None:
        self.flags.discard(flag.name)

    def set_memory_pool_limit(self, pool: Any, size_bytes: int) -> None:
        self.pools[pool.name] = size_bytes

    def set_compute_capability(self, value: Any, index: int) -> None:
        self.capability = value

    def add_optimization_profile(self, profile: Any) -> None:
        self.profiles.append(profile.shapes)

    def create_timing_cache(self, data: bytes) -> Any:
        return SimpleNamespace(data=data, serialize=lambda: b"timings")

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        return cache.data != b"of another GPU"


class FakeProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, Any] = {}

    def set_shape(self, name: str, shortest: Any, optimal: Any, longest: Any) -> None:
        self.shapes[name] = (shortest, optimal, longest)


def fake_module(version: str = "10.3.0") -> Any:
    """A module with the names that the code uses; `state` tells what was done with it."""
    state = SimpleNamespace(config=None, parse_errors=[], build_error="", engine=FakeEngine())

    class Builder:
        def __init__(self, logger: Any) -> None:
            self.logger = logger

        def create_network(self, flags: int) -> Any:
            state.network_flags = flags
            return SimpleNamespace()

        def create_builder_config(self) -> FakeConfig:
            state.config = FakeConfig()
            return state.config

        def create_optimization_profile(self) -> FakeProfile:
            return FakeProfile()

        def build_serialized_network(self, network: Any, config: FakeConfig) -> bytes | None:
            if state.build_error:
                self.logger.log(FakeLogger.ERROR, state.build_error)
                return None
            monitor = config.progress_monitor
            monitor.phase_start("Building engine", None, 2)
            for step in range(2):
                if state.on_step is not None:
                    state.on_step()
                if not monitor.step_complete("Building engine", step):
                    return None
            monitor.phase_finish("Building engine")
            return json.dumps({"profile": config.profiles}).encode()

    state.on_step = None

    class OnnxParser:
        def __init__(self, network: Any, logger: Any) -> None:
            self.num_errors = len(state.parse_errors)

        def parse_from_file(self, path: str) -> bool:
            return not state.parse_errors

        def get_error(self, index: int) -> Any:
            return SimpleNamespace(node=lambda: index, desc=lambda: state.parse_errors[index])

    class Runtime:
        def __init__(self, logger: Any) -> None:
            self.logger = logger

        def deserialize_cuda_engine(self, plan: bytes) -> Any:
            if plan == b"plan":
                return state.engine
            self.logger.log(FakeLogger.ERROR, "magic tag does not match")
            return None

    class BuilderFlag(IntEnum):
        TF32 = 0
        WEIGHT_STREAMING = 1
        STRIP_PLAN = 2

    class Capability(IntEnum):
        SM86 = 86
        SM89 = 89

    pools = IntEnum("MemoryPoolType", ["WORKSPACE"])
    typed = IntEnum("NetworkDefinitionCreationFlag", {"STRONGLY_TYPED": 1})
    strategy = IntEnum("ExecutionContextAllocationStrategy", ["STATIC", "USER_MANAGED"])
    return SimpleNamespace(
        __version__=version,
        state=state,
        Builder=Builder,
        OnnxParser=OnnxParser,
        Runtime=Runtime,
        ILogger=FakeLogger,
        Logger=FakeLogger,
        IProgressMonitor=object,
        BuilderFlag=BuilderFlag,
        MemoryPoolType=pools,
        NetworkDefinitionCreationFlag=typed,
        ComputeCapability=Capability,
        ExecutionContextAllocationStrategy=strategy,
    )


@pytest.fixture
def cuda() -> FakeCuda:
    return FakeCuda()


@pytest.fixture
def api() -> Api:
    return api_from_module(Flavour.TENSORRT, fake_module())


@pytest.fixture
def rtx_api() -> Api:
    return api_from_module(Flavour.RTX, fake_module("1.7.1"))


@pytest.fixture
def graph() -> Graph:
    return Graph(
        file=FileRecord("g.onnx", "0" * 64, 1),
        weights=(),
        opset=18,
        inputs=(TensorSpec("x", "float32", ("images", 3)),),
        outputs=(TensorSpec("y", "float32", ("images", 3)),),
        parity=Parity("r", "m", 0.0, 1.0, 1),
    )
