"""A gallery folder on disk, written so that a crash at any moment leaves the last good state.

    manifest.json                      names every source and the file that holds it
    sources/<slug>-<sha12>.safetensors content-addressed, never changed once written
    .lock                              one writer at a time; readers need no lock

A change writes new source files first, then replaces the manifest in one step, then deletes the
files that no manifest names any more. Whatever a crash leaves behind goes with the next change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from filelock import FileLock, Timeout

from lineup import files
from lineup.errors import GalleryError
from lineup.gallery.gallery import Gallery, fingerprint_mismatch, source_not_found
from lineup.gallery.support import (
    REAL_NAME,
    SourceRole,
    SupportSet,
    check_source_name,
    role_mismatch,
)
from lineup.gallery.tensors import (
    GALLERY_MANIFEST,
    FingerprintRecord,
    GalleryManifest,
    read_source,
    write_source,
)
from lineup.types import Float32Array, HalfArray

MANIFEST = "manifest.json"
SOURCES = "sources"
LOCK = ".lock"

_READ_ATTEMPTS = 20

Loaded = TypeVar("Loaded")


class GalleryStore:
    """Reads and changes one gallery folder.

    Args:
        path: The folder; created by the first `add`.
        lock_timeout_s: How long a change waits for another process's change to end.
    """

    def __init__(self, path: Path, *, lock_timeout_s: float = 60.0) -> None:
        self.path = path
        self._lock_timeout_s = lock_timeout_s

    def manifest(self) -> GalleryManifest | None:
        """Return the manifest, or None when there is no gallery here yet.

        Raises:
            GalleryError: The manifest cannot be read.
        """
        return self._manifest_from(self._manifest_bytes())

    def read(self) -> Gallery:
        """Load and verify the whole gallery.

        Raises:
            GalleryError: There is no gallery, or a file is missing, altered or malformed.
        """

        def load(manifest: GalleryManifest | None) -> Gallery:
            if manifest is None:
                raise GalleryError(
                    f"{self.path} is not a gallery: it has no {MANIFEST}",
                    hint="Make one with lineup enroll NAME PATHS... --gallery DIR.",
                )
            supports = {name: self._support(manifest, name) for name in manifest.sources}
            return Gallery(manifest.fingerprint.digest, supports, manifest.fingerprint.name)

        return self._unlocked(load)

    def ids(self, name: str) -> frozenset[str]:
        """Return the image ids of one source; empty when there is no such source.

        Raises:
            GalleryError: The source's file is missing, altered or malformed.
        """

        def load(manifest: GalleryManifest | None) -> frozenset[str]:
            if manifest is None or name not in manifest.sources:
                return frozenset()
            return frozenset(self._support(manifest, name).ids)

        return self._unlocked(load)

    def check(self, name: str, *, role: SourceRole | None, fingerprint_digest: str) -> None:
        """Check that images could be added to a source, before any work is put into them.

        Raises:
            GalleryError: As `add` would.
        """
        manifest = self.manifest()
        check_source_name(name, _role_for(name, role, manifest))
        self._check_fingerprint(manifest, fingerprint_digest)

    def add(
        self,
        name: str,
        fingerprints: Float32Array,
        ids: Sequence[str],
        *,
        fingerprint_digest: str,
        fingerprint_name: str = "",
        role: SourceRole | None = None,
        provenance: str = "",
        views: Mapping[str, HalfArray] = MappingProxyType({}),
        names: Sequence[str] = (),
    ) -> int:
        """Add images to a source, which need not exist yet; known ids are skipped.

        Args:
            name: Name of the source.
            fingerprints: Shape (N, D), float32, rows L2-normalised.
            ids: Hex SHA-256 of the N image files; may repeat.
            fingerprint_digest: Identity of the bundle that made the fingerprints.
            fingerprint_name: Name of that bundle, for people.
            role: None keeps the role of a present source; a new one becomes a candidate,
                or real when it is called "real".
            provenance: Where the images came from; joined with what is stored.
            views: See `SupportSet.views`, for the N images.
            names: See `SupportSet.names`; no line breaks in them.

        Returns:
            How many images were really added.

        Raises:
            GalleryError: The input breaks a rule of `SupportSet`, the gallery was made with
                another fingerprint or holds the source in another role, or cannot be written.
        """
        if len(ids) != len(fingerprints):
            raise GalleryError(f"{len(fingerprints)} fingerprints need as many ids, got {len(ids)}")
        if not len(ids):
            return 0
        first_rows = {image_id: row for row, image_id in reversed(list(enumerate(ids)))}
        rows = sorted(first_rows.values())
        fresh_ids = tuple(ids[row] for row in rows)
        seen = {key: values[rows] for key, values in views.items()}
        with self._changing() as manifest:
            final_role = _role_for(name, role, manifest)
            support = SupportSet(
                name,
                final_role,
                fingerprints[rows],
                fresh_ids,
                provenance,
                seen,
                tuple(names[row] for row in rows) if names else (),
            )
            fresh = Gallery(fingerprint_digest, {name: support}, fingerprint_name)
            return self._merge(manifest, fresh)[name]

    def merge(self, gallery: Gallery) -> dict[str, int]:
        """Add every source of another gallery in one step: all of them, or none.

        Returns:
            How many images were really added, per source.

        Raises:
            GalleryError: Other fingerprint, conflicting roles, or the folder cannot be written.
        """
        if not gallery.sources:
            return {}
        with self._changing() as manifest:
            return self._merge(manifest, gallery)

    def remove(self, name: str) -> None:
        """Remove one source; its file need not be readable.

        Raises:
            SourceNotFoundError: There is no such source.
            GalleryError: The folder cannot be written.
        """
        if self.manifest() is None:
            raise source_not_found(name, {})
        with self._changing() as manifest:
            if manifest is None or name not in manifest.sources:
                raise source_not_found(name, {} if manifest is None else manifest.sources)
            self._commit(manifest.without_source(name))

    @contextmanager
    def _changing(self) -> Iterator[GalleryManifest | None]:
        """Hold the lock and yield the present manifest; system errors become `GalleryError`."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path / LOCK, timeout=self._lock_timeout_s):
                yield self.manifest()
        except Timeout as error:
            raise GalleryError(
                f"another process has been changing {self.path} for {self._lock_timeout_s:g} s",
                hint="Wait for it to end, then try again.",
            ) from error
        except OSError as error:
            raise GalleryError(f"cannot change the gallery {self.path}: {error}") from error

    def _unlocked(self, load: Callable[[GalleryManifest | None], Loaded]) -> Loaded:
        """Load from files that a writer may replace in the meantime."""
        for _ in range(_READ_ATTEMPTS):
            data = self._manifest_bytes()
            try:
                return load(self._manifest_from(data))
            except FileNotFoundError as error:
                if self._manifest_bytes() == data:
                    raise GalleryError(
                        f"{error.filename} is missing, though the manifest names it"
                    ) from error
        raise GalleryError(
            f"{self.path} kept changing while it was read", hint="Try again once enrolment is over."
        )

    def _merge(self, manifest: GalleryManifest | None, fresh: Gallery) -> dict[str, int]:
        base = self._base_for(manifest, fresh)
        added: dict[str, int] = {}
        changed: list[SupportSet] = []
        for name, support in fresh.sources.items():
            present = self._support(base, name) if name in base.sources else None
            merged = present.merged_with(support) if present else support
            added[name] = len(merged) - (len(present) if present else 0)
            if added[name]:
                changed.append(merged)
        if changed:
            folder = self.path / SOURCES
            records = {support.name: write_source(folder, support) for support in changed}
            self._commit(base.with_sources(records))
        return added

    def _base_for(self, manifest: GalleryManifest | None, fresh: Gallery) -> GalleryManifest:
        """Return the manifest to extend; a gallery without sources takes any fingerprint."""
        dimension = fresh.dimension
        assert dimension is not None
        if manifest is None or not manifest.sources:
            record = FingerprintRecord(fresh.fingerprint_name, fresh.fingerprint_digest, dimension)
            return GalleryManifest(record, {})
        self._check_fingerprint(manifest, fresh.fingerprint_digest)
        if manifest.fingerprint.dimension != dimension:
            raise GalleryError(
                f"the gallery {self.path} holds fingerprints of dimension "
                f"{manifest.fingerprint.dimension}, got {dimension}"
            )
        return manifest

    def _check_fingerprint(self, manifest: GalleryManifest | None, digest: str) -> None:
        if manifest is None or not manifest.sources or manifest.fingerprint.digest == digest:
            return
        raise fingerprint_mismatch(f"the gallery {self.path}", manifest.fingerprint.digest, digest)

    def _commit(self, manifest: GalleryManifest) -> None:
        files.write_atomic(self.path / MANIFEST, GALLERY_MANIFEST.file_bytes(manifest))
        named = {record.file for record in manifest.sources.values()}
        for path in (self.path / SOURCES).glob("*"):
            if path.name not in named:
                with suppress(OSError):  # open elsewhere on Windows; the next change gets it
                    path.unlink()
        for leaving in self.path.glob(f".{MANIFEST}.*"):
            leaving.unlink(missing_ok=True)

    def _support(self, manifest: GalleryManifest, name: str) -> SupportSet:
        record = manifest.sources[name]
        return read_source(self.path / SOURCES, name, record, manifest.fingerprint.dimension)

    def _manifest_bytes(self) -> bytes | None:
        try:
            return (self.path / MANIFEST).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise GalleryError(f"cannot read {self.path / MANIFEST}: {error.strerror}") from error

    def _manifest_from(self, data: bytes | None) -> GalleryManifest | None:
        if data is None:
            return None
        return GALLERY_MANIFEST.from_bytes(data, where=str(self.path / MANIFEST))


def _role_for(name: str, role: SourceRole | None, manifest: GalleryManifest | None) -> SourceRole:
    stored = None if manifest is None else manifest.sources.get(name)
    if stored is None:
        return role or (SourceRole.REAL if name == REAL_NAME else SourceRole.CANDIDATE)
    if role is not None and role is not stored.role:
        raise role_mismatch(name, stored.role, role)
    return stored.role
