"""Writing a bundle: it appears whole and verified, or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from lineup.bundles.bundle import Bundle, open_bundle, weight_location
from lineup.bundles.manifest import (
    MANIFEST,
    MANIFEST_NAME,
    FileRecord,
    Graph,
    Manifest,
    Parity,
    TensorSpec,
    path_text_problem,
)
from lineup.errors import ParityError, UsageError
from lineup.files import (
    ASIDE_NAME,
    link_or_copy,
    sha256_from_file,
    temporary_directory_beside,
    write_atomic,
)

if TYPE_CHECKING:
    from typing_extensions import Self


def today() -> str:
    """Return the date in UTC as a manifest records it."""
    return datetime.now(timezone.utc).date().isoformat()


class BundleWriter:
    """Collects the files of a bundle beside its target; `finish` makes the bundle appear.

    Leaving the block without `finish`, or by an exception, leaves nothing behind::

        with BundleWriter(target, about) as writer:
            writer.add_graph("fingerprint", onnx_bytes, inputs=..., outputs=..., ...)
            bundle = writer.finish()

    Args:
        target: Folder that becomes the bundle.
        about: What the manifest says about the model as a whole; its graphs and files become
            those that are added.
        overwrite: Replace a bundle that is there; it stays usable until the new one is verified.

    Raises:
        UsageError: `target` exists and may not be replaced.
    """

    def __init__(self, target: Path, about: Manifest, *, overwrite: bool = False) -> None:
        self._target = target.expanduser().absolute()
        self._about = about
        self._overwrite = overwrite
        self._graphs: dict[str, Graph] = {}
        self._files: list[FileRecord] = []
        self._cleanup = ExitStack()
        self._staging: Path | None = None

    def __enter__(self) -> Self:
        self._refuse_existing()
        try:
            self._staging = self._cleanup.enter_context(temporary_directory_beside(self._target))
        except OSError as error:
            parent = self._target.parent
            raise UsageError(f"{parent} cannot be written to: {error.strerror}") from error
        return self

    def __exit__(self, *_: object) -> None:
        self._staging = None
        self._cleanup.close()

    def add_graph(
        self,
        role: str,
        onnx: bytes,
        *,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        opset: int,
        parity: Parity,
        weights: Mapping[str, bytes | Path] | None = None,
        on_cpu: bytes | None = None,
    ) -> None:
        """Add a graph and its external data.

        Args:
            role: What the graph is for, e.g. "fingerprint"; the file is called after it.
            onnx: The ONNX file, its external data already at `weight_location(sha256)`.
            inputs: In the order of the graph.
            outputs: In the order of the graph.
            opset: Version of the default ONNX operator set.
            parity: The comparison with the reference.
            weights: Content, or a file that nobody will change in place, per location that the
                graph refers to.
            on_cpu: The same graph in a form for ONNX Runtime on a CPU, with the same weights.

        Raises:
            ParityError: The graph did not reproduce its reference.
            UsageError: The role is taken, or a weight's location is not the address of its content.
        """
        if not parity.value <= parity.tolerance:
            raise ParityError(
                f"Graph {role!r}: {parity.metric} against {parity.reference} is {parity.value:g}, "
                f"expected at most {parity.tolerance:g} (over {parity.samples} inputs).",
                hint="No bundle was written.",
            )
        if role in self._graphs:
            raise UsageError(f"The bundle has a graph {role!r} already.")
        self._graphs[role] = Graph(
            file=self._store(f"{role}.onnx", onnx),
            weights=tuple(self._store_weight(*item) for item in (weights or {}).items()),
            opset=opset,
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            parity=parity,
            on_cpu=None if on_cpu is None else self._store(f"{role}.cpu.onnx", on_cpu),
        )

    def add_file(self, path: str, content: bytes | Path) -> None:
        """Add a further file, e.g. a tokenizer.

        Args:
            path: Where it goes, relative to the bundle, with forward slashes.
            content: Its bytes, or a file to copy.
        """
        self._files.append(self._store(path, content))

    def finish(self) -> Bundle:
        """Write the manifest, verify everything, and make the bundle appear at the target.

        Raises:
            BundleFormatError: A field of the manifest is missing or wrong; names it.
            BundleIntegrityError: A graph refers to data that was not added.
            UsageError: The target came into existence meanwhile.
        """
        staging = self._require_staging()
        manifest = replace(self._about, graphs=self._graphs, files=tuple(self._files))
        write_atomic(staging / MANIFEST_NAME, MANIFEST.file_bytes(manifest))
        checked = open_bundle(staging).manifest
        self._refuse_existing()
        replace_directory(staging, self._target)
        self._staging = None
        return Bundle(self._target.resolve(), checked)

    def _store_weight(self, location: str, content: bytes | Path) -> FileRecord:
        for known in (record for graph in self._graphs.values() for record in graph.weights):
            if known.path == location:
                return known
        record = self._store(location, content, put_file=link_or_copy)
        if location != weight_location(record.sha256):
            raise UsageError(
                f"The weights at {location!r} have to be at {weight_location(record.sha256)!r}, "
                "the address of their content.",
                hint="Point the graph's external data to lineup.bundles.bundle.weight_location().",
            )
        return record

    def _store(
        self,
        path: str,
        content: bytes | Path,
        put_file: Callable[[Path, Path], object] = shutil.copyfile,
    ) -> FileRecord:
        problem = path_text_problem(path)
        target = self._require_staging() / path
        if problem is None and (path == MANIFEST_NAME or target.exists()):
            problem = "the bundle has such a file already"
        if problem is not None:
            raise UsageError(f"The file {path!r} cannot be added: {problem}.")
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            put_file(content, target)
        else:
            target.write_bytes(content)
        return FileRecord(path, sha256_from_file(target), target.stat().st_size)

    def _require_staging(self) -> Path:
        if self._staging is None:
            raise RuntimeError("a BundleWriter is used inside its with block, before finish()")
        return self._staging

    def _refuse_existing(self) -> None:
        if self._target.exists() and not self._overwrite:
            raise UsageError(
                f"{self._target} exists already.",
                hint="Choose another folder, or ask for it to be overwritten.",
            )


def replace_directory(new: Path, target: Path) -> None:
    """Rename `new` to `target`; a folder that is there is put aside first, beside `new`.

    When the second rename fails, the old folder is put back.

    Args:
        new: Complete folder, in a temporary folder on the same file system; whoever made that
            folder removes it, and with it the one put aside.
        target: Where it goes.
    """
    aside = new.with_name(ASIDE_NAME)
    had_old = target.exists()
    if had_old:
        target.rename(aside)
    try:
        new.rename(target)
    except BaseException:
        if had_old:
            aside.rename(target)
        raise
