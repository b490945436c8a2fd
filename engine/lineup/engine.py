"""The engine: every answer about an image comes from here, from one gallery and its evidence.

    import lineup

    with lineup.open() as engine:
        answer = engine.attribute("query.png")
        print(answer.verdict.title, answer.verdict.confidence)

The gallery's evidence is the default. A lineup that is named adds its own gallery, its calibration
and the evidence of resynthesis, whose models are opened when they are first needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from lineup.answering import Answering
from lineup.calibration.calibration import CALIBRATION
from lineup.errors import SourceNotFoundError
from lineup.finding import find_images
from lineup.fingerprint import DEFAULT_BUNDLE, FingerprintExtractor
from lineup.gallery.gallery import Gallery, source_not_found
from lineup.gallery.kept_fits import kept_fits
from lineup.gallery.opening import gallery_state, known_gallery, shipped_gallery, user_store
from lineup.gallery.support import SourceRole, SupportSet
from lineup.lineups.store import Lineup, open_lineup
from lineup.options import DEFAULT_OPTIONS, AttributionOptions
from lineup.query import Query
from lineup.reading import read_image
from lineup.results import (
    FINGERPRINT,
    REFERENCE,
    UNKNOWN,
    Attribution,
    Classification,
    Verification,
)
from lineup.runtime import REFERENCE_BUNDLE, Runtime
from lineup.stream import (
    DEFAULT_STREAM,
    FileInMemory,
    StreamedImage,
    StreamOptions,
    rows_from_paths,
)

if TYPE_CHECKING:
    from lineup.classifier import OpenSetClassifier
    from lineup.gallery.enroll import EnrollOptions, EnrollReport
    from lineup.lineups.models import ResynthesisModels
    from lineup.reading import AnyImage
    from lineup.reference import ReferenceEncoder
    from lineup.scan.meter import ScanMeter
    from lineup.scan.pipeline import Identities
    from lineup.stored.store import StoredResyntheses
    from lineup.types import Float32Array, RgbTiles


class Engine(Answering):
    """Attributes, verifies, classifies, scans and enrols; a context manager that owns its models.

    Threads may share an engine: one of them works at a time. A process that was forked off may not.
    """

    @property
    def sources(self) -> tuple[str, ...]:
        """The gallery's candidates."""
        return self.scorer.names

    def attribute(
        self, image: AnyImage, *, options: AttributionOptions = DEFAULT_OPTIONS
    ) -> Attribution:
        """Tell which source made an image.

        Args:
            image: Whatever `lineup.reading.read_image` takes: a path, bytes, a PIL image, an array,
                a file object.
            options: Which evidence, and how.

        Raises:
            ImageError: The image cannot be read.
            UsageError: It is nothing that could be one, or the engine does not have the evidence.
            BackendError: A model failed.
        """
        read = read_image(image, origin=options.origin)
        query = Query.from_image(read)
        self.answer([query], options)
        return query.attribution(read, self.run_id(options))

    def scan(
        self,
        images: str | Path | Iterable[str | Path],
        *,
        options: AttributionOptions = DEFAULT_OPTIONS,
        reading: StreamOptions = DEFAULT_STREAM,
        done: Identities | None = None,
        meter: ScanMeter | None = None,
    ) -> Iterator[Attribution]:
        """Attribute many images; yield one row each, lazily and in order.

        A row is what `attribute` answers, or tells why the image has no answer.

        Args:
            images: Files, folders (searched through) and patterns.
            options: Which evidence, and how.
            reading: How images are read and grouped.
            done: Images to leave out, because their rows exist already.
            meter: Counts images and time, if given.

        Raises:
            UsageError: The engine does not have the evidence, or the options do not fit it.
            BackendError: A model failed on every image of a group of several.
        """
        from lineup.scan.pipeline import scan_rows  # noqa: PLC0415 - one image needs no threads

        return scan_rows(_found(images), self, options, reading, done=done, meter=meter)

    def verify(self, image: AnyImage, source: str) -> Verification:
        """Test whether one source made an image.

        Args:
            image: See `attribute`.
            source: A candidate of the gallery.

        Raises:
            SourceNotFoundError: The gallery has no such source, or it holds photographs.
            ImageError: The image cannot be read.
        """
        support = self.source(source)
        read = read_image(image)
        query = Query.from_image(read)
        evidence = (FINGERPRINT, REFERENCE) if self.has_reference else (FINGERPRINT,)
        self.answer([query], AttributionOptions(evidence=evidence))
        found = {one.name: one for one in query.evidence if source in one.scores}
        scorer = self.reference_scorer if REFERENCE in found else self.scorer
        llr = sum(one.llr[source] for one in found.values())
        others, other_sources = scorer.others(source)
        return Verification(
            source=source,
            accepted=llr > 0,
            probability=1 / (1 + math.exp(-llr)),
            score=[one.scores[source] for one in found.values()][-1],
            llr=llr,
            false_accept_rate=scorer.false_accept_rate(source, llr),
            false_reject_rate=scorer.false_reject_rate(source, llr),
            support=len(support),
            others=others,
            other_sources=other_sources,
            notes=(*read.notes, *query.tile_notes),
        )

    def classify(self, image: AnyImage, classifier: OpenSetClassifier) -> Classification:
        """Name the class of an image by a fitted classifier.

        Args:
            image: See `attribute`.
            classifier: See `lineup.classifier.read_classifier`.

        Raises:
            ClassifierError: It was fitted with another fingerprint.
            ImageError: The image cannot be read.
        """
        classifier.check_fingerprint(self.extractor.digest)
        read = read_image(image)
        notes = (*read.notes, *self.extractor.notes(read.pixels))
        with self.working():
            fingerprint = self.extractor.fingerprints([read.pixels])[0]
        return _classification(classifier, fingerprint, read.sha256, notes)

    def classify_files(
        self,
        images: str | Path | Iterable[str | Path],
        classifier: OpenSetClassifier,
        *,
        reading: StreamOptions = DEFAULT_STREAM,
    ) -> Iterator[tuple[StreamedImage, Classification | None]]:
        """Name the class of many images, lazily and in order; None with one that cannot be used.

        Args:
            images: Files, folders (searched through) and patterns.
            classifier: See `classify`.
            reading: How images are read and grouped.

        Raises:
            ClassifierError: It was fitted with another fingerprint.
            BackendError: The model failed.
        """
        classifier.check_fingerprint(self.extractor.digest)

        def fingerprints(tiles: Sequence[RgbTiles]) -> Float32Array:
            with self.working():
                return self.extractor.fingerprints_from_tiles(tiles)

        files = rows_from_paths(_found(images), self.extractor, fingerprints, reading)
        for image, fingerprint in files:
            if fingerprint is None or image.sha256 is None:
                yield image, None
            else:
                notes = (*image.notes, *image.tile_notes)
                yield image, _classification(classifier, fingerprint, image.sha256, notes)

    def enroll(
        self,
        name: str,
        images: str | Path | Iterable[str | Path] | Sequence[FileInMemory],
        *,
        options: EnrollOptions | None = None,
        on_progress: Callable[[EnrollReport], None] | None = None,
    ) -> EnrollReport:
        """Add images of a source to the gallery; every later answer knows them.

        What was committed stays, however the rest goes.

        Args:
            name: The source; need not exist yet.
            images: Files, folders (searched through) and patterns, or files in memory; one that
                cannot be used is reported and skipped.
            options: How to enrol.
            on_progress: Called after every image and every commit.

        Raises:
            UsageError: No image was found.
            GalleryError: The name is not allowed, the gallery was made with another fingerprint or
                holds the source in another role, or cannot be written.
        """
        from lineup.gallery.enroll import EnrollOptions, enroll_images  # noqa: PLC0415

        with self.working():
            try:
                return enroll_images(
                    user_store(self._gallery_path),
                    name,
                    _files(images),
                    self.extractor,
                    None if self._open_encoder is None else self.encoder,
                    options=options or EnrollOptions(),
                    base=shipped_gallery() if self._gallery_path is None else None,
                    on_progress=on_progress,
                )
            finally:
                self.follow_gallery()

    def follow_gallery(self) -> None:
        """Read the gallery again where it has changed."""
        state = gallery_state(self._gallery_path)
        if state != self._gallery_state:
            with self.working():
                self._gallery_state = state
                self.forget_gallery()

    def source(self, name: str) -> SupportSet:
        """Return the support set of a source that a query can be attributed to.

        Raises:
            SourceNotFoundError: The gallery has no such source, or it holds photographs.
        """
        support = self.gallery.sources.get(name)
        if support is None:
            raise source_not_found(name, dict.fromkeys(self.sources))
        if support.role is not SourceRole.CANDIDATE:
            raise SourceNotFoundError(
                f"{name!r} holds photographs, which have no fingerprint in common.",
                hint=f"Choose one of: {', '.join(self.sources)}.",
            )
        return support


def open_engine(
    lineup: str | Path | Lineup | None = None,
    *,
    device: str = "auto",
    threads: int = 0,
    fingerprint: str | Path | None = None,
    gallery: Path | None = None,
    cache: bool = True,
    calibrated: bool = True,
    keep_models: bool = True,
    stored: StoredResyntheses | None = None,
) -> Engine:
    """Open the engine; `lineup.open` is this function.

    Args:
        lineup: Name, path or opened lineup, whose candidates resynthesise queries; None is the
            gallery alone.
        device: `auto`, `cpu`, `cuda`, `cuda:N`, `tensorrt` and others (`lineup.backends.device`).
        threads: Threads on the CPU; 0 takes every core.
        fingerprint: Bundle name or folder; None takes the lineup's, or the shipped one.
        gallery: Gallery folder; None takes the shipped gallery and the user's own, and the lineup's
            with them.
        cache: Whether resyntheses, their features and fits of galleries are kept on disk.
        calibrated: Whether the lineup's calibration is read; its file need not exist otherwise.
        keep_models: Whether what resynthesises queries stays loaded; otherwise each model is loaded
            for all queries of a group and released before the next one is, which takes least
            memory.
        stored: Resyntheses made elsewhere; None takes the user's own.

    Raises:
        LineupError: The lineup, a bundle or the device cannot be used.
    """
    found = lineup if isinstance(lineup, Lineup) else open_lineup(lineup)
    spec = found.spec
    if fingerprint is None and spec.fingerprint is not None:
        fingerprint = found.bundle(spec.fingerprint)
    calibration = None
    if calibrated and found.calibration is not None:
        calibration = CALIBRATION.read(found.calibration)
    runtime = Runtime(device, threads=threads)
    extractor = runtime.open(FingerprintExtractor, fingerprint or DEFAULT_BUNDLE)

    def read_gallery() -> Gallery:
        return known_gallery(gallery, joining=found.gallery, fingerprint_digest=extractor.digest)

    def open_models() -> ResynthesisModels:
        # Here, because nobody who attributes by fingerprints alone should wait for it.
        from lineup.lineups.models import open_resynthesis_models  # noqa: PLC0415

        return open_resynthesis_models(
            found, extractor, runtime=runtime, cache=cache, keep=keep_models
        )

    def open_encoder() -> ReferenceEncoder:
        from lineup.reference import open_reference_encoder  # noqa: PLC0415 - as above

        encoder = open_reference_encoder(runtime)
        assert encoder is not None
        return encoder

    return Engine(
        extractor,
        read_gallery,
        found,
        open_models=open_models if spec.resynthesising else None,
        open_encoder=open_encoder if runtime.has_bundle(REFERENCE_BUNDLE) else None,
        calibration=calibration,
        stored=stored,
        gallery_path=gallery,
        kept=kept_fits() if cache else None,
    )


def _classification(
    classifier: OpenSetClassifier, fingerprint: Float32Array, sha256: str, notes: tuple[str, ...]
) -> Classification:
    names = (*classifier.classes, UNKNOWN) if classifier.has_reject else classifier.classes
    values = classifier.probabilities(fingerprint[None])[0].tolist()
    found = dict(sorted(zip(names, values, strict=True), key=lambda item: -item[1]))
    return Classification(next(iter(found)), found, sha256, notes)


def _files(
    images: str | Path | Iterable[str | Path] | Sequence[FileInMemory],
) -> Iterable[Path | FileInMemory]:
    if isinstance(images, Sequence) and images and isinstance(images[0], FileInMemory):
        return cast("Sequence[FileInMemory]", images)
    return _found(cast("str | Path | Iterable[str | Path]", images))


def _found(images: str | Path | Iterable[str | Path]) -> Iterator[Path]:
    return find_images([images] if isinstance(images, str | Path) else images)
