"""Graphs optimised ahead of time for this CPU, kept beside the bundles they were made from.

ONNX Runtime fuses operators and reorders the weights of convolutions for the vector width of the
processor. Done at load, that takes seconds and a private copy of all weights; done once and
written down, the result is mapped from its file like any other graph. Measured with SD-Turbo at
512 pixels on two cores with AVX-512: denoiser 4.5 s a step instead of 4.75 (and the same as after
optimising at load, with 0.2 GB instead of 3.6), decoder 13 s instead of 16.5.

Source: "Graph Optimizations in ONNX Runtime", offline mode; layout optimisations are bound to the
hardware they were made on, so the processor is part of the key.
"""

from __future__ import annotations

import json
import logging
import platform
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import onnxruntime as ort

from lineup.backends.onnxrt import FATAL_ONLY, WeightPolicy, policy_from_size
from lineup.bundles.bundle import Bundle
from lineup.errors import BackendError
from lineup.files import sha256_from_bytes, sha256_from_file, staged_directory
from lineup.machine import processor_features

logger = logging.getLogger(__name__)

GRAPH_NAME, WEIGHTS_NAME, RECORD_NAME = "graph.onnx", "weights.bin", "graph.json"
KEY_DIGITS = 20
_INLINE_BYTES = "1024"
_SPARE_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class GraphKey:
    """Everything that an optimised graph depends on.

    Attributes:
        graph: SHA-256 of the bundle's ONNX file, whose external data is named by content.
        runtime: Release of ONNX Runtime; another one may not know the operators.
        processor: Digest of what the processor can do.
    """

    graph: str
    runtime: str
    processor: str

    @property
    def digest(self) -> str:
        """Name in the cache: hex digits that change with any of the fields."""
        canonical = json.dumps(asdict(self), sort_keys=True)
        return sha256_from_bytes(canonical.encode())[:KEY_DIGITS]


@dataclass(frozen=True, slots=True)
class OptimisedGraph:
    """An optimised graph in the cache.

    Attributes:
        path: The ONNX file; its weights lie beside it.
        size_bytes: Size of both.
        build_seconds: What making it took.
    """

    path: Path
    size_bytes: int
    build_seconds: float


def key_from_bundle(bundle: Bundle, role: str) -> GraphKey:
    """Return the key of a bundle's graph on this machine."""
    features = f"{platform.machine()} {processor_features()}"
    return GraphKey(
        graph=bundle.manifest.graphs[role].file.sha256,
        runtime=ort.__version__,
        processor=sha256_from_bytes(features.encode())[:KEY_DIGITS],
    )


class OptimisedGraphs:
    """A folder of optimised graphs, one folder each, shared by bundles with the same graph."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, bundle: Bundle, role: str) -> OptimisedGraph | None:
        """Return the graph made for exactly this file, runtime and processor, or None.

        Files are hashed again only when size or time of change are not those on record.
        """
        key = key_from_bundle(bundle, role)
        folder = self.folder / key.digest
        try:
            record = json.loads((folder / RECORD_NAME).read_text("utf-8"))
            if record["key"] != asdict(key):
                return None
            files = record["files"]
            if not all(_is_sound(folder / name, files[name]) for name in files):
                logger.warning("%s is damaged and not used; build it again", folder)
                return None
            size_bytes = sum(one["size_bytes"] for one in files.values())
            return OptimisedGraph(folder / GRAPH_NAME, size_bytes, record["build_seconds"])
        except (OSError, ValueError, KeyError, TypeError):
            return None  # absent, or written by something else: not a graph of ours

    def build(self, bundle: Bundle, role: str) -> OptimisedGraph:
        """Optimise a graph for this machine and keep it, in the place of stale ones.

        Raises:
            BackendError: ONNX Runtime cannot optimise it, or it cannot be kept.
        """
        key = key_from_bundle(bundle, role)
        folder = self.folder / key.digest
        self.folder.mkdir(parents=True, exist_ok=True)
        _require_room(bundle, role, self.folder)
        shutil.rmtree(folder, ignore_errors=True)
        start = time.perf_counter()
        try:
            with staged_directory(folder) as staging:
                _optimise(bundle.graph_path(role), staging / GRAPH_NAME)
                record = {
                    "key": asdict(key),
                    "build_seconds": round(time.perf_counter() - start, 3),
                    "bundle": bundle.manifest.name,
                    "role": role,
                    "files": {one.name: _described(one) for one in sorted(staging.iterdir())},
                }
                (staging / RECORD_NAME).write_text(json.dumps(record, indent=1), "utf-8")
        except OSError as error:
            raise BackendError(
                f"{folder}: the optimised graph cannot be kept: {error.strerror or error}",
                hint="Make room, or set LINEUP_HOME to a folder with more.",
            ) from error
        built = self.find(bundle, role)
        assert built is not None
        # What another release of the runtime left can be as large, and is of no use any more.
        self._remove_where(
            lambda one: (
                one["runtime"] != key.runtime
                and (one["graph"], one["processor"]) == (key.graph, key.processor)
            )
        )
        return built

    def remove(self, graphs: Collection[str]) -> None:
        """Remove what was made of these graphs, named by the SHA-256 of their ONNX files."""
        self._remove_where(lambda key: key["graph"] in graphs)

    def _remove_where(self, is_stale: Callable[[dict[str, str]], bool]) -> None:
        for record in self.folder.glob(f"*/{RECORD_NAME}"):
            try:
                stale = is_stale(json.loads(record.read_text("utf-8"))["key"])
            except (OSError, ValueError, KeyError, TypeError):
                continue  # written by something else: not ours to remove
            if stale:
                shutil.rmtree(record.parent, ignore_errors=True)


def roles_to_optimise(bundle: Bundle) -> Iterator[str]:
    """Yield the graphs whose weights stay in their file; small ones are optimised as they load."""
    for role, graph in bundle.manifest.graphs.items():
        size_bytes = sum(one.size_bytes for one in graph.weights)
        if policy_from_size(size_bytes) is WeightPolicy.MAPPED:
            yield role


def _optimise(source: Path, target: Path) -> None:
    options = ort.SessionOptions()
    options.log_severity_level = FATAL_ONLY
    options.optimized_model_filepath = str(target)
    options.enable_cpu_mem_arena = False
    for name, value in {
        # Prepacking is not part of what is written and would only copy the weights once more.
        "session.disable_prepacking": "1",
        "session.optimized_model_external_initializers_file_name": WEIGHTS_NAME,
        "session.optimized_model_external_initializers_min_size_in_bytes": _INLINE_BYTES,
    }.items():
        options.add_session_config_entry(name, value)
    try:
        ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises bare RuntimeError subclasses of its own
        raise BackendError(f"{source}: onnxruntime cannot optimise it: {error}") from error


def _require_room(bundle: Bundle, role: str, folder: Path) -> None:
    """Refuse before minutes are spent: what is written is about as large as the weights."""
    needed = sum(one.size_bytes for one in bundle.manifest.graphs[role].weights) + _SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise BackendError(
            f"{folder}: {needed / 1e9:.1f} GB are needed for {bundle.manifest.name} {role}, "
            f"{free / 1e9:.1f} GB are free.",
            hint="Make room, or set LINEUP_HOME to a folder with more.",
        )


def _described(path: Path) -> dict[str, object]:
    state = path.stat()
    return {
        "size_bytes": state.st_size,
        "changed_ns": state.st_mtime_ns,
        "sha256": sha256_from_file(path),
    }


def _is_sound(path: Path, described: dict[str, object]) -> bool:
    state = path.stat()
    if state.st_size != described["size_bytes"]:
        return False
    if state.st_mtime_ns == described["changed_ns"]:
        return True
    return sha256_from_file(path) == described["sha256"]
