"""The bundles of this machine: installed ones under the home folder, and those in the package.

Layout under the home folder::

    bundles/<name>/           an installed bundle
    blobs/sha256-<hex>        weights, once each; bundles hold hard links to them
    staging/<random>/         what an installation or removal is working on
    bundles.lock              held by whoever changes any of it
    verified.json             hashes of large files that were opened before

A bundle folder comes and goes by one rename, so a reader needs no lock; one that is replaced is
read again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TypeVar

from lineup.bundles.bundle import (
    WEIGHTS_FOLDER,
    Bundle,
    FileCheck,
    VerifiedFiles,
    file_checks,
    open_bundle,
    read_bundle,
)
from lineup.bundles.manifest import MANIFEST_NAME, NAME_PATTERN, FileRecord, Manifest
from lineup.bundles.writer import replace_directory
from lineup.errors import BundleError, BundleNotFoundError, UsageError, did_you_mean
from lineup.files import ASIDE_NAME, link_or_copy, sha256_from_file
from lineup.paths import home_entries, shipped_dir

LOCK_TIMEOUT_S = 600.0
"""How long a change waits for another process; copying the largest models takes minutes."""

_BLOB_PREFIX = "sha256-"

Read = TypeVar("Read")


@dataclass(frozen=True, slots=True)
class StoredBundle:
    """A line of the store's list; its files are not verified.

    Attributes:
        name: What `BundleStore.open` takes.
        path: The bundle's folder.
        shipped: Comes with the package and cannot be removed.
        manifest: What the bundle says about itself; None when it cannot be read.
        problem: Why the manifest cannot be read, else None.
    """

    name: str
    path: Path
    shipped: bool
    manifest: Manifest | None
    problem: str | None


class BundleStore:
    """Installs, finds, verifies and removes bundles.

    Several processes may use a store at a time, and a killed one leaves no half-installed bundle.

    Args:
        home: The home folder; created by the first installation.
        shipped: Folder of read-only bundles; None takes those of the package.
        lock_timeout_s: How long a change waits for another process.
    """

    def __init__(
        self, home: Path, *, shipped: Path | None = None, lock_timeout_s: float = LOCK_TIMEOUT_S
    ) -> None:
        self._home = home
        self._bundles = home / "bundles"
        self._blobs = home / "blobs"
        self._staging = home / "staging"
        self._shipped = shipped_dir() / "bundles" if shipped is None else shipped
        self._lock_timeout_s = lock_timeout_s

    def install(self, directory: Path, *, overwrite: bool = False) -> Bundle:
        """Copy a bundle into the store, under the name in its manifest.

        Installing what is there already changes nothing. The folder is not changed, and not needed
        afterwards; `overwrite` replaces another bundle of the same name.

        Raises:
            BundleError: `directory` is not a bundle that may be used.
            UsageError: Another bundle has the name.
        """
        given = open_bundle(directory)
        name = given.manifest.name
        target = self._bundles / name
        with self._exclusive():
            # A broken bundle is in nobody's way: installing it again is the repair.
            present = None
            with suppress(BundleError):
                present = open_bundle(target)
            if present is not None and present.manifest == given.manifest:
                return present
            self._refuse_taken(name, taken=present is not None and not overwrite)
            with TemporaryDirectory(dir=self._staging, ignore_cleanup_errors=True) as folder:
                staged = Path(folder) / "new"
                self._copy(given, staged, Path(folder))
                # What was copied counts, not what was read before.
                copied = open_bundle(staged).manifest
                # `_recover` needs the name should the process die between the two renames.
                (Path(folder) / "name").write_text(name, encoding="ascii")
                replace_directory(staged, target)
        return Bundle(target.resolve(), copied)

    def list(self) -> tuple[StoredBundle, ...]:
        """Return all bundles by name; an installed one hides a shipped one of its name."""
        return tuple(
            StoredBundle(name, path, path.parent == self._shipped, *_manifest_or_problem(path))
            for name, path in sorted(self._folders().items())
        )

    def open(self, name_or_path: str | Path) -> Bundle:
        """Verify and open a bundle; large files that were not touched since are not read again.

        Args:
            name_or_path: A `Path`, text with a path separator, or text that names a folder with a
                manifest is a path; anything else a name in the store.

        Raises:
            BundleNotFoundError: There is no such bundle; lists those that exist.
            BundleError: The bundle cannot be used; see `open_bundle`.
        """
        with VerifiedFiles(self._home / "verified.json") as verified:
            return self._steady(name_or_path, lambda path: open_bundle(path, verified.sha256))

    def path(self, name_or_path: str | Path) -> Path:
        """Return where a bundle lies, by the rule of `open`, without verifying it.

        Raises:
            BundleNotFoundError: There is no such bundle; lists those that exist.
        """
        if _is_path(name_or_path):
            return Path(name_or_path)
        return self._folder(str(name_or_path))

    def verify(self, name: str) -> tuple[FileCheck, ...]:
        """Check every file of a bundle and say what is wrong with each.

        Raises:
            BundleNotFoundError: There is no such bundle.
        """
        return self._steady(name, _checks)

    def remove(self, name: str) -> None:
        """Remove an installed bundle, and the weights that no other bundle uses.

        Raises:
            BundleNotFoundError: There is no such bundle.
            UsageError: The bundle comes with the package.
        """
        with self._exclusive():
            folder = self.check_removable(name)
            with TemporaryDirectory(dir=self._staging, ignore_cleanup_errors=True) as scratch:
                # It disappears at once; deleting its files may take a while or be interrupted.
                folder.rename(Path(scratch) / "removed")

    def check_removable(self, name: str) -> Path:
        """Return the folder of an installed bundle.

        Raises:
            BundleNotFoundError: There is no such bundle.
            UsageError: The bundle comes with the package.
        """
        folder = self._folder(name)
        if folder.parent == self._shipped:
            raise UsageError(
                f"The bundle {name!r} comes with lineup and cannot be removed.",
                hint="Only installed bundles can: `lineup models list` shows which.",
            )
        return folder

    def _steady(self, name_or_path: str | Path, read: Callable[[Path], Read]) -> Read:
        """Return what is read from a bundle's folder that nobody replaced meanwhile."""
        while True:
            before = self._state(name_or_path)
            problem = None
            try:
                found = read(self.path(name_or_path))
            except BundleError as error:
                problem = error
            if self._state(name_or_path) == before:
                if problem is not None:
                    raise problem
                return found

    def _state(self, name_or_path: str | Path) -> tuple[int, int] | None:
        """Return what changes when a bundle is replaced, which a killed process may have left half.

        Between the two renames there is none of the name, for a moment or since that process died.
        """
        noted = {text for note in self._staging.glob("*/name") if (text := _text(note))}
        if name_or_path in noted:
            with suppress(BundleError), self._exclusive():  # done, or given back
                pass
        with suppress(OSError, BundleNotFoundError):
            found = self.path(name_or_path).stat()
            return found.st_ino, found.st_mtime_ns
        return None

    def _folders(self) -> dict[str, Path]:
        """Return the folder of every bundle by name."""
        found: dict[str, Path] = {}
        for parent in (self._shipped, self._bundles):
            found |= {
                path.name: path
                for path in home_entries(parent)
                if NAME_PATTERN.fullmatch(path.name) and os.path.isdir(path)  # noqa: PTH112 - never fails
            }
        return found

    def _folder(self, name: str) -> Path:
        """Return the folder of a bundle; see `path`."""
        folders = self._folders()
        if name in folders:
            return folders[name]
        there_are = f"there are: {', '.join(sorted(folders))}." if folders else "none is installed."
        raise BundleNotFoundError(
            f"There is no bundle {name!r}; {there_are}",
            hint=did_you_mean(name, sorted(folders))
            or "Install a bundle from a folder: lineup models install DIR",
        )

    def _refuse_taken(self, name: str, *, taken: bool) -> None:
        if (self._shipped / name).is_dir():
            raise UsageError(
                f"The name {name!r} belongs to a bundle that comes with lineup.",
                hint="Export the bundle under another name.",
            )
        if taken:
            raise UsageError(
                f"Another bundle {name!r} is installed already.",
                hint=f"Remove it first: lineup models remove {name}",
            )

    def _copy(self, given: Bundle, staged: Path, scratch: Path) -> None:
        weights = {record for graph in given.manifest.graphs.values() for record in graph.weights}
        for record in given.manifest.records():
            source, target = given.path / record.path, staged / record.path
            target.parent.mkdir(parents=True, exist_ok=True)
            if record in weights:
                link_or_copy(self._blob(record, source, scratch), target)
            else:
                shutil.copyfile(source, target)
        shutil.copyfile(given.path / MANIFEST_NAME, staged / MANIFEST_NAME)

    def _blob(self, record: FileRecord, source: Path, scratch: Path) -> Path:
        """Return the blob of some weights, made from `source` when it is absent or damaged."""
        blob = self._blobs / f"{_BLOB_PREFIX}{record.sha256}"
        intact = blob.is_file() and sha256_from_file(blob) == record.sha256
        if not intact:
            self._blobs.mkdir(exist_ok=True)
            incoming = scratch / blob.name
            shutil.copyfile(source, incoming)
            incoming.replace(blob)
        return blob

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Hold the lock; tidy up after a killed process before, and after ourselves at the end."""
        # Reading the store needs no lock, so most processes never load this.
        from filelock import FileLock, Timeout  # noqa: PLC0415

        try:
            self._staging.mkdir(parents=True, exist_ok=True)
            self._bundles.mkdir(exist_ok=True)
            with FileLock(self._home / "bundles.lock", timeout=self._lock_timeout_s):
                self._recover()
                try:
                    yield
                finally:
                    self._free_unused_blobs()
        except Timeout as error:
            raise BundleError(
                f"Another process has been changing {self._home} for {self._lock_timeout_s:g} s.",
                hint="Wait until it is done, then try again.",
            ) from error
        except OSError as error:
            raise BundleError(
                f"The bundles in {self._home} cannot be changed: {error}",
                hint="Check the folder's permissions and free space, or set LINEUP_HOME.",
            ) from error

    def _recover(self) -> None:
        """Clear what a killed process left in staging; give back a bundle it had put aside."""
        for folder in self._staging.iterdir():
            note, aside = folder / "name", folder / ASIDE_NAME
            if aside.is_dir() and note.is_file():
                target = self._bundles / note.read_text(encoding="ascii")
                if not target.exists():
                    aside.rename(target)
            shutil.rmtree(folder, ignore_errors=True)

    def _free_unused_blobs(self) -> None:
        used = {name for path in self._bundles.iterdir() for name in _blob_names(path)}
        with suppress(FileNotFoundError):
            for blob in self._blobs.iterdir():
                if blob.name not in used:
                    blob.unlink(missing_ok=True)


def _checks(path: Path) -> tuple[FileCheck, ...]:
    try:
        root, manifest = read_bundle(path)
    except BundleNotFoundError:
        raise
    except BundleError as error:
        return (FileCheck(MANIFEST_NAME, error.message),)
    return (FileCheck(MANIFEST_NAME, None), *file_checks(root, manifest))


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="ascii")
    return ""


def _is_path(name_or_path: str | Path) -> bool:
    if isinstance(name_or_path, Path):
        return True
    has_separator = "/" in name_or_path or os.sep in name_or_path
    return has_separator or (Path(name_or_path) / MANIFEST_NAME).is_file()


def _manifest_or_problem(folder: Path) -> tuple[Manifest | None, str | None]:
    try:
        return read_bundle(folder)[1], None
    except BundleError as error:
        return None, error.message


def _blob_names(bundle: Path) -> set[str]:
    """Return the blobs a bundle uses: by its manifest, or by its files if that is unreadable."""
    manifest, _ = _manifest_or_problem(bundle)
    if manifest is None:
        return {path.name for path in bundle.glob(f"{WEIGHTS_FOLDER}/*")}
    weights = (record for graph in manifest.graphs.values() for record in graph.weights)
    return {PurePosixPath(record.path).name for record in weights}
