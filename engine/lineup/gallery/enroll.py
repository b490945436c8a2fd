"""Enrolment: image files in, fingerprints in a gallery folder, committed batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from lineup.errors import ImageError, UsageError
from lineup.files import sha256_from_bytes
from lineup.gallery.gallery import (
    Gallery,
    SourceRole,
    fingerprint_mismatch,
    role_mismatch,
    unusable_rows,
)
from lineup.gallery.store import GalleryStore
from lineup.imaging.decode import DecodeLimits, bytes_from_path, image_from_bytes
from lineup.types import Float32Array, RgbImage, RgbTiles


class TileFingerprinter(Protocol):
    """What enrolment needs of `lineup.fingerprint.FingerprintExtractor`."""

    name: str
    digest: str

    def tiles(self, pixels: RgbImage) -> RgbTiles:
        """Cut an image into tiles."""

    def fingerprints_from_tiles(self, tiles: Sequence[RgbTiles]) -> Float32Array:
        """Return one L2-normalised fingerprint per image, shape (N, D)."""


@dataclass(frozen=True, slots=True)
class EnrollOptions:
    """How to enrol.

    Attributes:
        role: None keeps the role of a present source; a new one becomes a candidate, or real
            when it is called "real".
        provenance: Where the images came from, for people.
        batch_size: Images per run of the model and per commit.
        limits: Guards against decompression bombs.
    """

    role: SourceRole | None = None
    provenance: str = ""
    batch_size: int = 16
    limits: DecodeLimits = field(default_factory=DecodeLimits)


@dataclass(frozen=True, slots=True)
class FailedImage:
    """An image that could not be enrolled, and why."""

    path: Path
    message: str


@dataclass(frozen=True, slots=True)
class EnrollReport:
    """How an enrolment went, so far or altogether.

    Attributes:
        seen: Images looked at.
        added: Images that were committed to the gallery and were not in it before.
        present: Images that were there already, under whatever path.
        failed: Images that could not be used.
        total: Images of the source now, those of the `base` gallery included.
    """

    seen: int
    added: int
    present: int
    failed: tuple[FailedImage, ...]
    total: int


def enroll_images(
    store: GalleryStore,
    name: str,
    paths: Iterable[Path],
    extractor: TileFingerprinter,
    *,
    options: EnrollOptions = EnrollOptions(),
    base: Gallery | None = None,
    on_progress: Callable[[EnrollReport], None] | None = None,
) -> EnrollReport:
    """Add image files to a source. What was committed stays, however the rest goes.

    Args:
        store: Where the fingerprints go.
        name: Name of the source; need not exist yet.
        paths: Image files; one that cannot be used is reported and skipped.
        extractor: Computes the fingerprints.
        options: How to enrol.
        base: A gallery that `store` is merged with when it is opened (the shipped one): its
            images are not enrolled again, and its fingerprint and roles must agree.
        on_progress: Called after every image and every commit.

    Raises:
        GalleryError: The name is not allowed, the gallery was made with another fingerprint or
            holds the source in another role, or cannot be written.
    """
    checked = _checked_options(name, options, extractor, base)
    store.check(name, role=checked.role, fingerprint_digest=extractor.digest)
    enrolment = _Enrolment(store, name, extractor, checked)
    enrolment.know(store.ids(name))
    if base is not None and name in base.sources:
        enrolment.know(base.sources[name].ids)
    notify = on_progress or (lambda report: None)
    for path in paths:
        enrolment.take(path)
        notify(enrolment.report())
    enrolment.commit()
    notify(enrolment.report())
    return enrolment.report()


@dataclass(frozen=True, slots=True)
class _PendingImage:
    path: Path
    image_id: str
    tiles: RgbTiles


class _Enrolment:
    """One run: the pending batch, the ids that need no work, and the counts."""

    def __init__(
        self, store: GalleryStore, name: str, extractor: TileFingerprinter, options: EnrollOptions
    ) -> None:
        self._store = store
        self._name = name
        self._extractor = extractor
        self._options = options
        self._known: set[str] = set()
        self._pending: list[_PendingImage] = []
        self._failed: list[FailedImage] = []
        self._seen = self._added = self._present = 0

    def know(self, ids: Iterable[str]) -> None:
        """Count images as present."""
        self._known.update(ids)

    def take(self, path: Path) -> None:
        """Read one file, skip it if known, else decode it; commit when the batch is full."""
        self._seen += 1
        try:
            data = bytes_from_path(path, limits=self._options.limits)
            image_id = sha256_from_bytes(data)
            if image_id in self._known:
                self._present += 1
                return
            pixels = image_from_bytes(data, limits=self._options.limits).pixels
        except ImageError as error:
            self._failed.append(FailedImage(path, error.message))
            return
        # Tiles, not pixels: what a batch holds stays small however large the images are.
        self._pending.append(_PendingImage(path, image_id, self._extractor.tiles(pixels)))
        self._known.add(image_id)
        if len(self._pending) >= self._options.batch_size:
            self.commit()

    def commit(self) -> None:
        """Compute the pending images' fingerprints and store them."""
        if not self._pending:
            return
        fingerprints = self._extractor.fingerprints_from_tiles([p.tiles for p in self._pending])
        unusable = set(unusable_rows(fingerprints))
        rows = [row for row in range(len(self._pending)) if row not in unusable]
        added = self._store.add(
            self._name,
            fingerprints[rows],
            [self._pending[row].image_id for row in rows],
            fingerprint_digest=self._extractor.digest,
            fingerprint_name=self._extractor.name,
            role=self._options.role,
            provenance=self._options.provenance,
        )
        self._added += added
        self._present += len(rows) - added  # another process was faster
        for row in sorted(unusable):
            image = self._pending[row]
            self._known.discard(image.image_id)
            self._failed.append(FailedImage(image.path, "the image has no usable fingerprint"))
        self._pending.clear()

    def report(self) -> EnrollReport:
        """Return the counts so far."""
        return EnrollReport(
            seen=self._seen,
            added=self._added,
            present=self._present,
            failed=tuple(self._failed),
            total=len(self._known) - len(self._pending),
        )


def _checked_options(
    name: str, options: EnrollOptions, extractor: TileFingerprinter, base: Gallery | None
) -> EnrollOptions:
    """Check the request against the base gallery; return it with the role that base implies."""
    if options.batch_size < 1:
        raise UsageError(f"the batch size must be at least 1, got {options.batch_size}")
    if base is None:
        return options
    if base.fingerprint_digest != extractor.digest:
        raise fingerprint_mismatch("the shipped gallery", base.fingerprint_digest, extractor.digest)
    if name not in base.sources:
        return options
    present = base.sources[name].role
    if options.role is not None and options.role is not present:
        raise role_mismatch(name, present, options.role)
    return replace(options, role=present)
