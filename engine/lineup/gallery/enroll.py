"""Enrolment: image files in, fingerprints in a gallery folder, committed batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lineup.errors import ImageError, UsageError
from lineup.gallery.gallery import Gallery, fingerprint_mismatch
from lineup.gallery.store import GalleryStore
from lineup.gallery.support import SourceRole, role_mismatch
from lineup.gallery.views import (
    ENROLLED_CHANNELS,
    ImageViews,
    is_usable,
    stacked,
    views_from_image,
)
from lineup.imaging.header import DEFAULT_LIMITS, DecodeLimits
from lineup.look_ahead import Signal
from lineup.stream import FileInMemory, ImageReader, StreamedImage, StreamOptions
from lineup.text import shown

if TYPE_CHECKING:
    from lineup.fingerprint import FingerprintExtractor
    from lineup.reference import ReferenceEncoder

UNUSABLE = "the image has no usable fingerprint"


@dataclass(frozen=True, slots=True)
class EnrollOptions:
    """How to enrol.

    Attributes:
        role: None keeps the role of a present source; a new one becomes a candidate, or real
            when it is called "real".
        provenance: Where the images came from, for people.
        batch_size: Images per commit.
        channels: What each image is passed through; the clean one is always among them. Without
            the drawn one, the source is judged by its images as they are.
        limits: Guards against decompression bombs.
    """

    role: SourceRole | None = None
    provenance: str = ""
    batch_size: int = 16
    channels: tuple[str, ...] = ENROLLED_CHANNELS
    limits: DecodeLimits = DEFAULT_LIMITS


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
    files: Iterable[Path | FileInMemory],
    extractor: FingerprintExtractor,
    encoder: ReferenceEncoder | None = None,
    *,
    options: EnrollOptions = EnrollOptions(),
    base: Gallery | None = None,
    on_progress: Callable[[EnrollReport], None] | None = None,
) -> EnrollReport:
    """Add image files to a source; see `lineup.engine.Engine.enroll`.

    Args:
        store: Where the fingerprints go.
        name: Name of the source.
        files: Image files.
        extractor: Computes the fingerprints.
        encoder: Computes embeddings; None keeps none.
        options: How to enrol.
        base: A gallery that `store` is merged with when it is opened (the shipped one): its
            images are not enrolled again, and its fingerprint and roles must agree.
        on_progress: Called after every image and every commit.
    """
    checked = _checked_options(name, options, extractor, base)
    store.check(name, role=checked.role, fingerprint_digest=extractor.digest)
    known = set(store.ids(name))
    if base is not None and name in base.sources:
        known.update(base.sources[name].ids)
    enrolment = _Enrolment(store, name, extractor, encoder, checked, known)
    notify = on_progress or (lambda report: None)
    reading = StreamOptions(group_images=checked.batch_size, limits=checked.limits)
    reader = ImageReader(
        extractor,
        reading,
        is_known=lambda path, sha256: sha256 in known,
        keep_pixels=True,
    )
    with closing(reader.images(files)) as stream:
        for item in stream:
            if item is not Signal.STALLED:
                enrolment.take(item if isinstance(item, StreamedImage) else None)
                notify(enrolment.report())
    enrolment.commit()
    notify(enrolment.report())
    return enrolment.report()


@dataclass(slots=True, eq=False)
class _Enrolment:
    """One run: the pending batch (name of the file and views by hash), known hashes, counts."""

    store: GalleryStore
    name: str
    extractor: FingerprintExtractor
    encoder: ReferenceEncoder | None
    options: EnrollOptions
    known: set[str]
    pending: dict[str, tuple[str, ImageViews]] = field(default_factory=dict)
    failed: list[FailedImage] = field(default_factory=list)
    seen: int = 0
    added: int = 0
    present: int = 0

    def take(self, image: StreamedImage | None) -> None:
        """Take the next image, None for one that is enrolled; commit when the batch is full."""
        self.seen += 1
        # Asked again: its copy may have been enrolled since it was read.
        if image is None or image.sha256 in self.known or image.sha256 in self.pending:
            self.present += 1
        elif image.sha256 is None or image.error is not None:
            assert image.error is not None
            self.failed.append(FailedImage(image.path, image.error.message))
        else:
            self._ask(image, image.sha256)
            if len(self.pending) >= self.options.batch_size:
                self.commit()

    def _ask(self, image: StreamedImage, sha256: str) -> None:
        """Ask the models about an image, of which only their answers are kept."""
        assert image.pixels is not None
        try:
            views = views_from_image(
                image.pixels,
                sha256,
                self.extractor,
                self.encoder,
                channels=self.options.channels,
            )
        except ImageError as error:
            self.failed.append(FailedImage(image.path, error.one_line))
            return
        if is_usable(views):
            self.pending[sha256] = shown(image.path.name), views
        else:
            self.failed.append(FailedImage(image.path, UNUSABLE))

    def commit(self) -> None:
        """Store what is known of the pending images."""
        if not self.pending:
            return
        ids = list(self.pending)
        names, seen = zip(*self.pending.values(), strict=True)
        fingerprints, views = stacked(seen)
        added = self.store.add(
            self.name,
            fingerprints,
            ids,
            views=views,
            fingerprint_digest=self.extractor.digest,
            fingerprint_name=self.extractor.name,
            role=self.options.role,
            provenance=self.options.provenance,
            names=names,
        )
        self.known.update(ids)
        self.added += added
        self.present += len(ids) - added  # another process was faster
        self.pending.clear()

    def report(self) -> EnrollReport:
        """Return the counts so far."""
        return EnrollReport(
            seen=self.seen,
            added=self.added,
            present=self.present,
            failed=tuple(self.failed),
            total=len(self.known),
        )


def _checked_options(
    name: str, options: EnrollOptions, extractor: FingerprintExtractor, base: Gallery | None
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
