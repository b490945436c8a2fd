"""What an engine opens beside the package, sent to each node of a cluster once.

The files go into Ray's object store, which copies them to a node when its first engine asks. There
they become a home folder named by their hashes, which every engine of that node opens, and checks.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lineup.errors import LineupError, UsageError
from lineup.files import sha256_from_file, staged_directory
from lineup.gallery.opening import user_store
from lineup.lineups.store import Lineup, is_shipped
from lineup.paths import home_dir, shipped_dir
from lineup.runtime import REFERENCE_BUNDLE, Runtime
from lineup.stored.store import FOLDER as STORED_FOLDER

NAMED = "named"
"""Folder of the kit for what the user named by a path."""


@dataclass(frozen=True, slots=True)
class KitFile:
    """A file of a kit.

    Attributes:
        name: Path inside the kit, with slashes.
        sha256: Hex digest of its content.
        content: Reference of its bytes, shape (N,) uint8, in the object store.
    """

    name: str
    sha256: str
    content: Any


@dataclass(frozen=True, slots=True)
class Kit:
    """Files for the home folder of a node, and what an engine is opened with there.

    Attributes:
        files: By name.
        lineup: Name of a lineup of the package, or folder of the kit; None is the gallery alone.
        engine: What `lineup.engine.open_engine` takes beside the lineup; a `Path` is in the kit.
    """

    files: tuple[KitFile, ...]
    lineup: str | Path | None
    engine: Mapping[str, Any]

    def unpacked(self) -> Path:
        """Return the folder of this node that holds the files; they are written if need be.

        Raises:
            LineupError: What arrived is not what was sent, or cannot be written.
        """
        from filelock import FileLock  # noqa: PLC0415

        parts = [f"{file.sha256} {file.name}" for file in self.files]
        digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
        base = Path(tempfile.gettempdir()) / f"lineup-ray-{getattr(os, 'getuid', int)()}"
        base.mkdir(mode=0o700, exist_ok=True)
        if hasattr(os, "getuid") and base.stat().st_uid != os.getuid():
            raise LineupError(f"{base} belongs to another user.", hint="Remove it, or set TMPDIR.")
        with FileLock(base / f"{digest}.lock"):
            if not self._is_whole(base / digest):
                shutil.rmtree(base / digest, ignore_errors=True)
                with staged_directory(base / digest) as folder:
                    self._write(folder)
        return base / digest

    def opened_with(self, home: Path) -> tuple[str | Path | None, dict[str, Any]]:
        """Return what `open_engine` takes on a node where the files are in `home`."""
        engine = {
            name: home / one if isinstance(one, Path) else one for name, one in self.engine.items()
        }
        return home / self.lineup if isinstance(self.lineup, Path) else self.lineup, engine

    def _is_whole(self, folder: Path) -> bool:
        try:
            return all(sha256_from_file(folder / one.name) == one.sha256 for one in self.files)
        except OSError:
            return False

    def _write(self, folder: Path) -> None:
        import ray  # noqa: PLC0415 - an extra

        for file in self.files:
            path = folder / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as stream:
                stream.write(memoryview(ray.get(file.content)))
            if sha256_from_file(path) != file.sha256:
                raise LineupError(f"{file.name} arrived altered on this node.")


def kit_from_engine(lineup: Lineup, engine: Mapping[str, Any]) -> Kit:
    """Put what an engine opens beside the package into the object store.

    Args:
        lineup: Whose candidates.
        engine: What `lineup.engine.open_engine` takes beside the lineup.

    Raises:
        UsageError: The lineup names files outside of its folder.
        BundleError: A bundle is absent.
    """
    runtime, changed = Runtime(), dict(engine)
    folders: dict[str, Path] = {}
    if engine.get("gallery") is None:
        folders["gallery"] = user_store().path
    else:
        changed["gallery"] = Path(NAMED, "gallery")
        folders[f"{NAMED}/gallery"] = Path(engine["gallery"])
    bundles = [REFERENCE_BUNDLE] if runtime.has_bundle(REFERENCE_BUNDLE) else []
    if engine.get("fingerprint") is not None:
        path = runtime.store.path(engine["fingerprint"])
        if not path.is_relative_to(shipped_dir()):
            changed["fingerprint"] = Path(NAMED, "fingerprint")
            folders[f"{NAMED}/fingerprint"] = path
    known: str | Path | None = None if lineup.folder is None else lineup.spec.name
    if lineup.folder is not None:
        folders[STORED_FOLDER] = home_dir() / STORED_FOLDER
        bundles += _bundles_of(lineup)
        if not is_shipped(lineup.spec.name) or not lineup.folder.is_relative_to(shipped_dir()):
            known = Path(NAMED, "lineup")
            folders[f"{NAMED}/lineup"] = lineup.folder
    for name in bundles:
        path = runtime.store.path(name)
        if not path.is_relative_to(shipped_dir()):
            folders[f"bundles/{name}"] = path
    files = [one for where, folder in folders.items() for one in _files(where, folder)]
    return Kit(tuple(sorted(files, key=lambda one: one.name)), known, changed)


def _bundles_of(lineup: Lineup) -> Iterator[str]:
    """Yield the bundles that a lineup names; what it names by path has to be in its folder."""
    spec = lineup.spec
    named = [
        spec.captioner,
        spec.encoder,
        spec.fingerprint,
        *(one.bundle for one in spec.candidates),
    ]
    for reference in named:
        found = None if reference is None else lineup.bundle(reference)
        if isinstance(found, str):
            yield found
        else:
            _check_inside(lineup, found)
    _check_inside(lineup, lineup.gallery)
    _check_inside(lineup, lineup.calibration)


def _check_inside(lineup: Lineup, path: Path | None) -> None:
    assert lineup.folder is not None
    if path is not None and not path.is_relative_to(lineup.folder):
        raise UsageError(
            f"The lineup {lineup.spec.name!r} names {path}, which is not in its folder: other "
            "machines would not have it.",
            hint="Install bundles with `lineup models install`, and copy the rest into "
            f"{lineup.folder}.",
        )


def _files(where: str, folder: Path) -> Iterator[KitFile]:
    """Put the files of a folder, or a file, into the object store."""
    import ray  # noqa: PLC0415 - an extra

    for path in [folder] if folder.is_file() else sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if not path.is_file() or any(part.startswith(".") for part in inside.parts):
            continue
        size = path.stat().st_size
        content = np.asarray(np.memmap(path, mode="r")) if size else np.empty(0, np.uint8)
        name = (Path(where) / inside).as_posix()
        yield KitFile(name, sha256_from_file(path), ray.put(content))
