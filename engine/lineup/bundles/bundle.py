"""Opening a bundle: nothing of it is used before every file matched its size and hash."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from lineup.bundles.external import external_locations
from lineup.bundles.manifest import (
    MANIFEST,
    MANIFEST_NAME,
    BundleKind,
    FileRecord,
    Graph,
    Manifest,
    path_text_problem,
)
from lineup.errors import BundleError, BundleFormatError, BundleIntegrityError, BundleNotFoundError
from lineup.files import sha256_from_bytes, sha256_from_file, write_atomic

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WEIGHTS_FOLDER = "weights"

LARGE_BYTES = 2**20
"""Smaller files are hashed every time; that takes milliseconds."""

SETTLED_NS = 2 * 10**9
"""A file that changed less than this ago may change again within one tick of the system's clock."""

State: TypeAlias = list[int]
Entries: TypeAlias = dict[str, tuple[State, str]]

Hash: TypeAlias = Callable[[Path], str]


def weight_location(sha256: str) -> str:
    """Return where a bundle keeps external data, and the location that a graph gives for it."""
    return f"{WEIGHTS_FOLDER}/sha256-{sha256}"


@dataclass(frozen=True)
class Bundle:
    """An opened bundle whose files have been verified.

    Attributes:
        path: Absolute path of the bundle's folder.
        manifest: What the bundle says about itself.
    """

    path: Path
    manifest: Manifest

    @cached_property
    def digest(self) -> str:
        """Hex SHA-256 of the model's content.

        It does not depend on name, date, source or licence, so two bundles with the same digest
        compute the same.
        """
        return content_digest(self.manifest)

    def require_kind(self, kind: BundleKind) -> None:
        """Refuse a model of another kind; the manifest of a kind has the kind's sections.

        Raises:
            BundleFormatError: The model is of another kind.
        """
        if self.manifest.kind is not kind:
            raise BundleFormatError(
                f"{self.path} holds a model of kind {self.manifest.kind.value}, "
                f"expected {kind.value}.",
                hint="`lineup models list` shows the kind of every bundle.",
            )

    def graph_path(self, role: str) -> Path:
        """Return the path of a graph's ONNX file.

        Raises:
            BundleFormatError: The bundle has no graph of that role.
        """
        graph = self.manifest.graphs.get(role)
        if graph is None:
            raise BundleFormatError(
                f"{self.path / MANIFEST_NAME}: graphs.{role}: missing, but needed here; "
                f"there are: {', '.join(self.manifest.graphs)}",
                hint="The bundle is of another kind or incomplete; export it again.",
            )
        return self.path / graph.file.path

    def graph_path_on_cpu(self, role: str) -> Path:
        """Return the path of the form of a graph that ONNX Runtime takes on a CPU.

        Raises:
            BundleFormatError: The bundle has no graph of that role.
        """
        path = self.graph_path(role)
        on_cpu = self.manifest.graphs[role].on_cpu
        return path if on_cpu is None else self.path / on_cpu.path

    def preprocess(self, key: str) -> Any:
        """Return a field of the manifest's `preprocess`.

        Raises:
            BundleFormatError: The field is absent; names it.
        """
        value = getattr(self.manifest.preprocess, key)
        if value is None:
            raise BundleFormatError(
                f"{self.path / MANIFEST_NAME}: preprocess.{key}: missing, but needed here",
                hint="The bundle was exported without it; export it again.",
            )
        return value

    def tokenizer(self, path: str) -> Tokenizer:
        """Return a tokenizer.

        Args:
            path: One of the bundle's files, a tokenizer.json of Hugging Face's tokenizers library.

        Raises:
            BundleFormatError: The file is not a tokenizer.
        """
        # Not every bundle has one.
        from tokenizers import Tokenizer  # noqa: PLC0415

        try:
            return Tokenizer.from_file(str(self.path / path))
        except Exception as error:  # tokenizers raises bare Exception
            raise BundleFormatError(
                f"{self.path / path}: not a tokenizer: {error}", hint="Export the bundle again."
            ) from error


@dataclass(frozen=True, slots=True)
class FileCheck:
    """The outcome of verifying one file.

    Attributes:
        path: Relative to the bundle.
        problem: Why the file cannot be trusted; None when it can.
    """

    path: str
    problem: str | None


def open_bundle(path: Path, sha256: Hash = sha256_from_file) -> Bundle:
    """Verify every file of a bundle and open it.

    Args:
        path: The bundle's folder.
        sha256: Returns the hex SHA-256 of a file; see `VerifiedFiles`.

    Raises:
        BundleNotFoundError: There is no such folder, or it holds no manifest.
        BundleVersionError: The manifest was written by a newer lineup.
        BundleFormatError: The manifest cannot be read, or a field is wrong; names it.
        BundleIntegrityError: A file is missing, truncated, altered, or outside of the bundle;
            names it and says which.
    """
    root, manifest = read_bundle(path)
    for check in file_checks(root, manifest, sha256):
        if check.problem is not None:
            raise BundleIntegrityError(
                f"{root}: {check.path}: {check.problem}",
                hint="Nothing of the bundle was used. Copy or export it again.",
            )
    return Bundle(root, manifest)


def read_bundle(path: Path) -> tuple[Path, Manifest]:
    """Return the absolute path and the manifest of a bundle whose files are not verified.

    Raises:
        BundleError: As `open_bundle`, short of what concerns the other files.
    """
    root = path.expanduser().resolve()
    if not (root / MANIFEST_NAME).is_file():
        why = f"it has no {MANIFEST_NAME}" if root.is_dir() else "no such folder"
        raise BundleNotFoundError(
            f"{path} is not a bundle: {why}.",
            hint="`lineup models list` shows the bundles that exist.",
        )
    problem = _path_problem(root, MANIFEST_NAME)
    if problem is not None:
        raise BundleIntegrityError(f"{root}: {MANIFEST_NAME}: {problem}")
    return root, MANIFEST.read(root / MANIFEST_NAME)


def file_checks(
    root: Path, manifest: Manifest, sha256: Hash = sha256_from_file
) -> Iterator[FileCheck]:
    """Verify the files of a bundle one by one: place, size, hash, then what graphs refer to."""
    weights = {record for graph in manifest.graphs.values() for record in graph.weights}
    for record in manifest.records():
        problem = _content_problem(root, record, sha256)
        if record in weights and record.path != weight_location(record.sha256):
            location = weight_location(record.sha256)
            problem = problem or f"weights have to lie at the address of their content, {location}"
        for graph in manifest.graphs.values():
            if record in graph.forms:
                problem = problem or _reference_problem(root, record, graph)
        yield FileCheck(record.path, problem)


def content_digest(manifest: Manifest) -> str:
    """Return the hex SHA-256 that identifies what the model computes.

    It covers the kind, the hashes of all files, the roles of the graphs, and every setting that
    changes results.
    """
    hashes = {record.path: record.sha256 for record in manifest.files}

    def section(name: str) -> dict[str, Any] | None:
        value = getattr(manifest, name)
        return None if value is None else asdict(value)

    content = {
        "kind": manifest.kind,
        "graphs": {
            role: [
                *(form.sha256 for form in graph.forms),
                *sorted(weight.sha256 for weight in graph.weights),
            ]
            for role, graph in manifest.graphs.items()
        },
        "files": sorted(hashes.values()),
        "tokenizer": None if manifest.tokenizer is None else hashes[manifest.tokenizer],
        "preprocess": manifest.preprocess.given(),
        "fingerprint": section("fingerprint"),
        "generation": section("generation"),
        "scheduler": manifest.scheduler,
    }
    # Only where they are: the digest of other kinds is older than these sections.
    content |= {name: section(name) for name in ("captioner", "encoder") if section(name)}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256_from_bytes(canonical.encode("ascii"))


def _content_problem(root: Path, record: FileRecord, sha256: Hash) -> str | None:
    problem = _path_problem(root, record.path)
    if problem is not None:
        return problem
    path = root / record.path
    try:
        found_bytes = path.stat().st_size
        if found_bytes != record.size_bytes:
            word = "truncated" if found_bytes < record.size_bytes else "altered"
            return f"{word}: expected {record.size_bytes} bytes, found {found_bytes}"
        found_sha256 = sha256(path)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if found_sha256 != record.sha256:
        return f"altered: expected sha256 {record.sha256}, found {found_sha256}"
    return None


def _path_problem(root: Path, text: str) -> str | None:
    """Return why a path does not name a regular file inside of the bundle, None when it does."""
    problem = path_text_problem(text)
    if problem is not None:
        return problem
    try:
        resolved = (root / text).resolve(strict=True)
    except FileNotFoundError:
        return "missing"
    except (OSError, RuntimeError) as error:
        return f"cannot be read: {error}"
    if not resolved.is_relative_to(root):
        return f"a link that leaves the bundle, to {resolved}"
    if not resolved.is_file():
        return "not a regular file"
    return None


def _reference_problem(root: Path, form: FileRecord, graph: Graph) -> str | None:
    """Return why the external data that a graph asks for is not what was verified."""
    if "/" in form.path:
        # External data is looked up next to the graph.
        return "a graph has to lie at the top of the bundle"
    try:
        wanted = external_locations(root / form.path)
    except BundleError as error:
        return error.message
    except OSError as error:  # gone since its hash was taken
        return f"cannot be read: {error.strerror}"
    # By address, not by recorded path: a misplaced weight is reported as itself.
    strangers = sorted(wanted - {weight_location(weight.sha256) for weight in graph.weights})
    if strangers:
        return f"the graph refers to {strangers[0]!r}, which is not among its weights"
    return None


class VerifiedFiles:
    """Hashes of large files that were computed before and hold until the file is touched.

    Reading the weights of three large generators to hash them takes longer than drawing with them,
    and pushes what is mapped out of memory. A file counts as untouched while its inode, size, time
    of change and time of the inode's change stay the same. The last one (on Windows, where it means
    something else, the one before it) is set by the system alone, so what alters a file shows,
    whatever it does to the other times. `lineup models verify` reads everything all the same.

    The record is read when a `with` block begins and written when it ends; a damaged or missing one
    costs time, nothing else.

    Args:
        record: A JSON file, made when the first large file was hashed.
    """

    def __init__(self, record: Path) -> None:
        self._record = record
        self._known: Entries = {}
        self._new: Entries = {}

    def __enter__(self) -> VerifiedFiles:
        self._known, self._new = self._read(), {}
        return self

    def __exit__(self, *_: object) -> None:
        if not self._new:
            return
        # Two processes that write at a time lose each other's lines, and hash once more.
        known = {name: one for name, one in self._read().items() if Path(name).exists()}
        with suppress(OSError):  # a home that cannot be written to costs time only
            write_atomic(self._record, json.dumps(known | self._new).encode())

    def sha256(self, path: Path) -> str:
        """Return the hex SHA-256 of a file, read only if it is small, new or was touched.

        Raises:
            OSError: The file cannot be read.
        """
        if path.stat().st_size < LARGE_BYTES:
            return sha256_from_file(path)
        state = _state(path)
        known = self._known.get(str(path))
        if known is not None and known[0] == state:
            return known[1]
        found = sha256_from_file(path)
        if _state(path) == state and time.time_ns() - max(state[-2:]) > SETTLED_NS:
            self._new[str(path)] = (state, found)
        return found

    def _read(self) -> Entries:
        try:
            content = json.loads(self._record.read_bytes())
            return {str(name): (list(entry[0]), str(entry[1])) for name, entry in content.items()}
        except (OSError, ValueError, TypeError, AttributeError, LookupError):
            return {}


def _state(path: Path) -> State:
    found = path.stat()
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
