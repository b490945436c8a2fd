"""Compiled graphs, whatever compiled them: kept under the home folder, never used stale.

Each has a folder of its own: the files that the compiler wrote, and a record of what they were made
for. It comes by renames, one process at a time (`graphs.lock`); readers need no lock. What ONNX
Runtime's TensorRT provider compiles at a first run lies beside them, in files of its own naming.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from lineup.bundles.manifest import Graph
from lineup.bundles.writer import replace_directory
from lineup.documents import DocumentFormat
from lineup.errors import BackendError
from lineup.files import sha256_from_bytes, sha256_from_file, temporary_directory_beside
from lineup.paths import home_dir, home_entries

logger = logging.getLogger(__name__)

RECORD_NAME = "record.json"
KEY_DIGITS = 20

Profile = dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]
"""Shortest, optimal and longest shape per input."""


@dataclass(frozen=True, slots=True)
class GraphKey:
    """Everything that a compiled graph depends on.

    Attributes:
        graph: Digest of the exported graph and its weights; of its structure alone, where the
            weights are put in when it is loaded.
        backend: The product that compiled it.
        release: Its version; another one may not load the result.
        machine: Compute capability of the GPU, e.g. "8.6", or a digest of what the processor can
            do.
        profile: The shapes that it was compiled for; empty where any will do.
        flags: Further options that change the result.
    """

    graph: str
    backend: str
    release: str
    machine: str
    profile: Profile = field(default_factory=dict)
    flags: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Name in the cache: hex digits that change with any of the fields."""
        values = sorted(asdict(self).items())
        return sha256_from_bytes(repr(values).encode())[:KEY_DIGITS]


@dataclass(frozen=True, slots=True)
class _File:
    """Content of a file, and when it was last changed: hashing gigabytes takes seconds."""

    size_bytes: int
    changed_ns: int
    sha256: str


@dataclass(frozen=True, slots=True)
class _Record:
    key: GraphKey
    main: str
    files: dict[str, _File]
    build_seconds: float
    bundle: str
    role: str


_FORMAT = DocumentFormat(kind=_Record, error=BackendError, hint="Compile the graph again.")


@dataclass(frozen=True, slots=True)
class CompiledGraph:
    """A compiled graph in the cache.

    Attributes:
        key: What it was compiled for.
        path: The file to load; others may lie beside it.
        size_bytes: Size of all.
        build_seconds: What compiling took.
        bundle: Name of the bundle that it was first compiled for.
        role: Its graph in that bundle.
    """

    key: GraphKey
    path: Path
    size_bytes: int
    build_seconds: float
    bundle: str
    role: str


class GraphCache:
    """A folder of compiled graphs, shared by bundles with the same graph."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def provider_folder(self) -> Path:
        """Where ONNX Runtime's TensorRT provider keeps what it compiles."""
        return self.folder / "onnxruntime-tensorrt"

    def find(self, key: GraphKey) -> CompiledGraph | None:
        """Return the graph compiled for exactly this key; None when there is none that is sound."""
        found = self._read(self.folder / key.digest)
        return found if found is not None and found.key == key else None

    def list(self) -> Iterator[CompiledGraph]:
        """Yield every sound graph, by name of its folder."""
        for folder in home_entries(self.folder):
            found = self._read(folder)
            if found is not None:
                yield found

    def add(
        self, key: GraphKey, *, bundle: str, role: str, compile_to: Callable[[Path], Path]
    ) -> CompiledGraph:
        """Compile a graph and keep it, in the place of what an earlier release made of it.

        `compile_to` writes files into an empty folder and returns the one to load.

        Raises:
            BackendError: It cannot be compiled or kept, e.g. the disk is full.
        """
        folder = self.folder / key.digest
        try:
            start = time.perf_counter()
            with temporary_directory_beside(folder) as staging:
                main = compile_to(staging)
                record = _Record(
                    key,
                    main.name,
                    {one.name: _described(one) for one in sorted(staging.iterdir())},
                    round(time.perf_counter() - start, 3),
                    bundle,
                    role,
                )
                _FORMAT.write(staging / RECORD_NAME, record)
                self._replace(staging, folder)
        except OSError as error:
            raise BackendError(
                f"{folder}: the compiled graph cannot be kept: {error.strerror or error}",
                hint="Make room, or set LINEUP_HOME to a folder with more.",
            ) from error
        # Of another release, and the same in everything else.
        self._remove_where(
            lambda other: other != key and replace(other, release=key.release) == key
        )
        return _compiled(folder, record)

    def _replace(self, staging: Path, folder: Path) -> None:
        """Let the new graph appear; several processes may have compiled the same one."""
        # Most processes compile nothing.
        from filelock import FileLock  # noqa: PLC0415

        with FileLock(self.folder.with_suffix(".lock")):
            replace_directory(staging, folder)

    def remove(self, graphs: Collection[str]) -> None:
        """Remove what was compiled from these graphs, named by `graph_digest`."""
        self._remove_where(lambda key: key.graph in graphs)

    def _remove_where(self, is_stale: Callable[[GraphKey], bool]) -> None:
        for found in self.list():
            if is_stale(found.key):
                shutil.rmtree(found.path.parent, ignore_errors=True)

    def _read(self, folder: Path) -> CompiledGraph | None:
        try:
            record = _FORMAT.read(folder / RECORD_NAME)
            is_sound = all(_is_sound(folder / name, one) for name, one in record.files.items())
        except (OSError, BackendError):
            return None  # absent, or written by something else: not a graph of ours
        if not is_sound or record.main not in record.files:
            logger.warning("%s is damaged and not used; compile it again", folder)
            return None
        return _compiled(folder, record)


def graph_cache() -> GraphCache:
    """Return the user's cache of compiled graphs."""
    return GraphCache(home_dir() / "graphs")


def _compiled(folder: Path, record: _Record) -> CompiledGraph:
    return CompiledGraph(
        key=record.key,
        path=folder / record.main,
        size_bytes=sum(one.size_bytes for one in record.files.values()),
        build_seconds=record.build_seconds,
        bundle=record.bundle,
        role=record.role,
    )


def graph_digest(graph: Graph) -> str:
    """Return a hex SHA-256 of an exported graph and its weights."""
    hashes = [one.sha256 for one in (*graph.forms, *graph.weights)]
    return sha256_from_bytes("\n".join(hashes).encode("ascii"))


def _described(path: Path) -> _File:
    state = path.stat()
    return _File(state.st_size, state.st_mtime_ns, sha256_from_file(path))


def _is_sound(path: Path, described: _File) -> bool:
    state = path.stat()
    if state.st_size != described.size_bytes:
        return False
    is_untouched = state.st_mtime_ns == described.changed_ns
    return is_untouched or sha256_from_file(path) == described.sha256
