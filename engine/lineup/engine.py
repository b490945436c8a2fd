"""The engine: every answer about an image comes from here, from one gallery and its evidence.

    import lineup

    with lineup.open() as engine:
        answer = engine.attribute("query.png")
        print(answer.verdict.title, answer.verdict.confidence)

The gallery's evidence is the default. A lineup that is named adds its own gallery, its calibration
and the evidence of resynthesis, whose models are opened when they are first needed.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lineup.calibration.calibration import CALIBRATION, Calibration
from lineup.calibration.verdict import verdict_from_scores
from lineup.closing import ClosesOnExit
from lineup.errors import BackendError, SourceNotFoundError, UsageError
from lineup.finding import find_images
from lineup.fingerprint import DEFAULT_BUNDLE, FingerprintExtractor, Signals
from lineup.fusion import verdict_from_evidence
from lineup.gallery.gallery import Gallery, SourceRole, SupportSet
from lineup.gallery.opening import known_gallery, shipped_gallery, user_store
from lineup.gallery.scoring import SourceScorer
from lineup.lineups.store import Lineup, open_lineup
from lineup.options import DEFAULT_OPTIONS, DEFAULT_SCAN, AttributionOptions, ScanOptions
from lineup.query import Query
from lineup.reading import read_image
from lineup.results import (
    EVIDENCE_NAMES,
    FINGERPRINT,
    REAL,
    RESYNTHESIS,
    RESYNTHESIS_EVIDENCE,
    RESYNTHESIS_FINGERPRINT,
    UNKNOWN,
    Attribution,
    Classification,
    Evidence,
    Resynthesis,
    StageTimes,
    Verdict,
    Verification,
)
from lineup.resynthesis.cascade import Cascade, CascadeOptions, Step
from lineup.resynthesis.options import Mode, ResynthesisOptions
from lineup.resynthesis.stored import StoredResyntheses, open_stored
from lineup.runtime import Runtime

if TYPE_CHECKING:
    from lineup.classifier import OpenSetClassifier
    from lineup.gallery.enroll import EnrollOptions, EnrollReport
    from lineup.lineups.models import ResynthesisModels
    from lineup.reading import AnyImage
    from lineup.resynthesis.expected import PlannedTimes
    from lineup.scan.identity import Identities
    from lineup.scan.meter import ScanMeter
    from lineup.types import Float32Array, RgbImage

RUN_ID_DIGITS = 12


class Engine(ClosesOnExit):
    """Attributes, verifies, classifies, scans and enrols; a context manager that owns its models.

    Threads may share an engine: one of them works at a time. A process that was forked off may not.

    Args:
        extractor: Computes fingerprints; owned by the engine.
        read_gallery: Returns the known sources; called when they are first needed, and after an
            enrolment.
        lineup: Candidates, defaults and calibration; one without any is the gallery alone.
        open_models: Opens what resynthesises queries; None where nothing does.
        calibration: How scores become ratios; None leaves that to the gallery.
        gallery_path: Where enrolments go; None is the user's own gallery.
        stored: Resyntheses made elsewhere; None is the user's own.

    Attributes:
        extractor: Computes fingerprints.
        lineup: As given.
        calibration: As given.
    """

    def __init__(
        self,
        extractor: FingerprintExtractor,
        read_gallery: Callable[[], Gallery],
        lineup: Lineup,
        *,
        open_models: Callable[[], ResynthesisModels] | None = None,
        calibration: Calibration | None = None,
        gallery_path: Path | None = None,
        stored: StoredResyntheses | None = None,
    ) -> None:
        self.extractor = extractor
        self.lineup = lineup
        self.calibration = calibration
        self._read_gallery = read_gallery
        self._open_models = open_models
        self._gallery_path = gallery_path
        self._scorer: SourceScorer | None = None
        self._gallery: Gallery | None = None
        self._models: ResynthesisModels | None = None
        self._stored = stored or open_stored()
        self._lock = threading.RLock()
        self._process = os.getpid()

    @property
    def gallery(self) -> Gallery:
        """The known sources.

        Raises:
            GalleryError: It cannot be read, or was made with another fingerprint.
        """
        return self._known()[0]

    @property
    def sources(self) -> tuple[str, ...]:
        """The gallery's candidates."""
        return self._known()[1].names

    @property
    def candidates(self) -> tuple[str, ...]:
        """Every source that may be named: those of the lineup, then of the gallery."""
        listed = [one.name for one in self.lineup.spec.candidates]
        return tuple(dict.fromkeys([*listed, *self.sources]))

    @property
    def evidence(self) -> tuple[str, ...]:
        """What there is of `EVIDENCE_NAMES`, and is computed when nothing is asked for by name."""
        return (FINGERPRINT, *(self._signals() if self.lineup.spec.generators else ()))

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
        read = read_image(image)
        query = Query.from_image(read)
        self.answer([query], options)
        return query.attribution(
            Attribution(
                path=read.path,
                run=self.run_id(options),
                sha256=read.sha256,
                size_bytes=read.size_bytes,
                format=read.format,
                width_px=read.width_px,
                height_px=read.height_px,
                notes=read.notes,
                ms=StageTimes(read=read.read_ms, decode=read.decode_ms),
            )
        )

    def scan(
        self,
        images: str | Path | Iterable[str | Path],
        *,
        options: AttributionOptions = DEFAULT_OPTIONS,
        reading: ScanOptions = DEFAULT_SCAN,
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
        scorer = self._known()[1]
        scores = scorer.scores(self._fingerprint(read.pixels)[None])
        column = scorer.names.index(source)
        score = float(scores[0, column])
        llr = float(scorer.llrs(scores)[0, column])
        return Verification(
            source=source,
            accepted=llr > 0,
            probability=1 / (1 + math.exp(-llr)),
            score=score,
            llr=llr,
            false_accept_rate=scorer.false_accept_rate(source, score),
            false_reject_rate=scorer.false_reject_rate(source, score),
            support=len(support),
            notes=(*read.notes, *self.extractor.notes(read.pixels)),
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
        names = (*classifier.classes, UNKNOWN) if classifier.has_reject else classifier.classes
        values = classifier.probabilities(self._fingerprint(read.pixels)[None])[0].tolist()
        found = dict(sorted(zip(names, values, strict=True), key=lambda item: -item[1]))
        return Classification(
            label=next(iter(found)),
            probabilities=found,
            sha256=read.sha256,
            notes=(*read.notes, *self.extractor.notes(read.pixels)),
        )

    def enroll(
        self,
        name: str,
        images: str | Path | Iterable[str | Path],
        *,
        options: EnrollOptions | None = None,
        on_progress: Callable[[EnrollReport], None] | None = None,
    ) -> EnrollReport:
        """Add images of a source to the gallery; every later answer knows them.

        What was committed stays, however the rest goes.

        Args:
            name: The source; need not exist yet.
            images: Files, folders (searched through) and patterns; one that cannot be used is
                reported and skipped.
            options: How to enrol.
            on_progress: Called after every image and every commit.

        Raises:
            UsageError: No image was found.
            GalleryError: The name is not allowed, the gallery was made with another fingerprint or
                holds the source in another role, or cannot be written.
        """
        from lineup.gallery.enroll import EnrollOptions, enroll_images  # noqa: PLC0415

        with self._working():
            try:
                return enroll_images(
                    user_store(self._gallery_path),
                    name,
                    _found(images),
                    self.extractor,
                    options=options or EnrollOptions(),
                    base=shipped_gallery() if self._gallery_path is None else None,
                    on_progress=on_progress,
                )
            finally:
                self._gallery = self._scorer = None

    def answer(self, queries: Sequence[Query], options: AttributionOptions) -> None:
        """Give each query its verdict, taking every model once for all of them.

        The verdicts are those that each image gets alone, but for a latency budget, which follows
        what was measured before.

        Args:
            queries: All of them, and their resyntheses, are in memory at once.
            options: Which evidence, and how.

        Raises:
            UsageError: The engine does not have the evidence, or the options do not fit it.
            BackendError: A model failed.
        """
        with self._working():
            settings = self._settings(options)
            for query in queries:
                if self._asks_resyntheses(options) and query.sha256 is not None:
                    query.stored = self._stored.of_query(query.sha256)
                query.wanted = self._wanted(options, settings, query.stored)
            self._take_fingerprints(queries)
            self._resynthesise(queries, options.cascade, settings)
            for query in queries:
                start = time.perf_counter()
                verdict = self._verdict(query, settings)
                query.verdict = replace(verdict, notes=(*verdict.notes, *query.notes))
                query.fuse_ms += (time.perf_counter() - start) * 1e3

    def source(self, name: str) -> SupportSet:
        """Return the support set of a source that a query can be attributed to.

        Raises:
            SourceNotFoundError: The gallery has no such source, or it holds photographs.
        """
        support = self.gallery.source(name)
        if support.role is not SourceRole.CANDIDATE:
            raise SourceNotFoundError(
                f"{name!r} holds photographs, which have no fingerprint in common.",
                hint=f"Choose one of: {', '.join(self.sources)}.",
            )
        return support

    def columns(self, options: AttributionOptions = DEFAULT_OPTIONS) -> tuple[str, ...]:
        """Return the columns that verdicts fill in a table of rows (`lineup.scan.encoding`)."""
        asked = self.evidence_of(options)
        listed = tuple(one.name for one in self.lineup.spec.candidates)
        stored = self._stored.candidates() if self._asks_resyntheses(options) else ()
        names = tuple(dict.fromkeys([*self.candidates, *stored]))
        spoken_of = {FINGERPRINT: self.sources}
        columns = [f"posterior.{name}" for name in (*names, UNKNOWN, REAL)]
        for evidence in asked:
            sources = spoken_of.get(evidence, tuple(dict.fromkeys([*listed, *stored])))
            columns += [f"{evidence}.score.{name}" for name in sources]
            columns += [f"{evidence}.llr.{name}" for name in sources]
            if evidence == FINGERPRINT and self.extractor.tells_real:
                columns.append(f"{REAL}.llr.{REAL}")
        return tuple(columns)

    def evidence_of(self, options: AttributionOptions) -> tuple[str, ...]:
        """Return the evidence that these options ask for, cheapest first."""
        asked = set(options.evidence or self.evidence)
        if self._settings(options).mode is not Mode.DEFAULT:
            asked &= {RESYNTHESIS}
        return tuple(name for name in EVIDENCE_NAMES if name in asked)

    def evidence_options(self, settings: ResynthesisOptions) -> dict[str, Mapping[str, str | int]]:
        """Return, per evidence, what its scores depend on: a calibration holds for these only."""
        signals = self._resynthesis().resynthesizer.evidence_options(settings)
        return {FINGERPRINT: {}, **signals}

    @property
    def families(self) -> Mapping[str, str]:
        """Name of the VAE family per candidate that can be resynthesised by; opens the models."""
        return self._resynthesis().families

    def run_id(self, options: AttributionOptions = DEFAULT_OPTIONS) -> str:
        """Return 12 hex digits that change when the models, the gallery or the question do."""
        asked = self.evidence_of(options)
        content = None if self.calibration is None else CALIBRATION.to_raw(self.calibration)
        parts = [self.extractor.digest, self.gallery.digest, *asked]
        # As JSON: what is the same in every process, which a set's order is not.
        parts.append(json.dumps(content, sort_keys=True))
        if set(asked) & set(RESYNTHESIS_EVIDENCE):
            parts += [*self._resynthesis().digests, repr(self._settings(options))]
            parts += [] if options.cascade is None else [repr(options.cascade)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:RUN_ID_DIGITS]

    def close(self) -> None:
        """Release the models."""
        with ExitStack() as stack:
            stack.callback(self.extractor.close)
            if self._models is not None:
                stack.callback(self._models.close)

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Let one thread at a time work, in the process that opened the engine."""
        if os.getpid() != self._process:
            # The threads of the models' pools were not copied by fork: a call would wait for ever.
            raise UsageError(
                f"This engine was opened by process {self._process} and is used in process "
                f"{os.getpid()}, which was forked off it.",
                hint="Open an engine in each process, after the fork.",
            )
        with self._lock:
            yield

    def _known(self) -> tuple[Gallery, SourceScorer]:
        with self._lock:
            if self._gallery is None or self._scorer is None:
                self._gallery = self._read_gallery()
                self._scorer = SourceScorer(self._gallery)
            return self._gallery, self._scorer

    def _resynthesis(self) -> ResynthesisModels:
        """Return what resynthesises queries, opened on first use."""
        with self._lock:
            if self._models is None:
                assert self._open_models is not None
                self._models = self._open_models()
                self._cascade = Cascade(
                    self._models.resynthesizer.names, self._models.families, self._planned_times
                )
            return self._models

    def _planned_times(self) -> PlannedTimes | None:
        # Here, because it knows all kinds of models, and fingerprints alone need none.
        from lineup.planning.costs import planned_times  # noqa: PLC0415

        return planned_times(self.lineup)

    def _asks_resyntheses(self, options: AttributionOptions) -> bool:
        """Tell whether resyntheses are wanted, made here or elsewhere: never unasked."""
        if options.evidence is not None:
            return bool(set(options.evidence) & set(RESYNTHESIS_EVIDENCE))
        return self._open_models is not None

    def _signals(self) -> tuple[str, ...]:
        """Return the evidence that resyntheses can give here, wherever they come from."""
        if self._open_models is None:
            return ()
        return RESYNTHESIS_EVIDENCE if self.lineup.spec.encoder else (RESYNTHESIS_FINGERPRINT,)

    def _settings(self, options: AttributionOptions) -> ResynthesisOptions:
        return options.resynthesis or self.lineup.spec.resynthesis

    def _fingerprint(self, pixels: RgbImage) -> Float32Array:
        with self._working():
            fingerprint: Float32Array = self.extractor.fingerprints([pixels])[0]
            return fingerprint

    def _wanted(
        self,
        options: AttributionOptions,
        settings: ResynthesisOptions,
        stored: Mapping[str, Sequence[Resynthesis]],
    ) -> tuple[str, ...]:
        """Return the evidence to compute for a query: what was asked for, or all there is."""
        there = set(self.evidence) | set(self._signals() if stored else ())
        if settings.mode is not Mode.DEFAULT:
            there &= {RESYNTHESIS}
        wanted = tuple(name for name in EVIDENCE_NAMES if name in (options.evidence or there))
        missing = [name for name in wanted if name not in there]
        if missing or not wanted:
            raise self._lacks(", ".join(missing) or RESYNTHESIS, settings, there)
        return wanted

    def _lacks(
        self, evidence: str, settings: ResynthesisOptions, there: Iterable[str]
    ) -> UsageError:
        return UsageError(
            f"The lineup {self.lineup.spec.name!r} does not give the evidence {evidence} in mode "
            f"{settings.mode.value}.",
            hint=f"It gives: {', '.join(sorted(there))}."
            if there
            else "Choose a lineup with generators: `lineup lineups list` shows them.",
        )

    def _take_fingerprints(self, queries: Sequence[Query]) -> None:
        """Compute the fingerprints that are wanted, and the evidence that they are."""
        wanting = [
            query for query in queries if {FINGERPRINT, RESYNTHESIS_FINGERPRINT} & set(query.wanted)
        ]
        if not wanting:
            return
        tiles = [query.cut(self.extractor) for query in wanting]
        start = time.perf_counter()
        signals = self.extractor.signals_from_tiles(tiles)
        tile_ms = (time.perf_counter() - start) * 1e3 / sum(map(len, tiles))
        self._check_signals(signals, len(wanting))
        for row, query in enumerate(wanting):
            query.fingerprint = signals.fingerprints[row]
            query.inference_ms += tile_ms * len(tiles[row])
            if FINGERPRINT not in query.wanted:
                continue
            query.evidence.append(self._fingerprint_evidence(query))
            if signals.real_llrs is not None:
                # From the same run of the model as the fingerprint, whose cost includes it.
                llr = {REAL: float(signals.real_llrs[row])}
                query.evidence.append(Evidence(name=REAL, scores={}, llr=llr, cost_ms=0.0))

    def _fingerprint_evidence(self, query: Query) -> Evidence:
        """Compare with the gallery, whose own images tell what a score means."""
        assert query.fingerprint is not None
        scorer = self._known()[1]
        # By itself: a product of matrices may round otherwise than that of a single row.
        scores = scorer.scores(query.fingerprint[None])
        llrs = scorer.llrs(scores)
        return Evidence(
            name=FINGERPRINT,
            scores=dict(zip(scorer.names, scores[0].tolist(), strict=True)),
            llr=dict(zip(scorer.names, llrs[0].tolist(), strict=True)),
            cost_ms=(query.preprocess_ms or 0.0) + query.inference_ms,
            notes=query.tile_notes,
        )

    def _resynthesise(
        self,
        queries: Sequence[Query],
        cascade: CascadeOptions | None,
        settings: ResynthesisOptions,
    ) -> None:
        """Let candidates resynthesise the queries that are open; add the evidence of it."""
        open_queries = []
        for query in queries:
            if not set(query.wanted) & set(RESYNTHESIS_EVIDENCE):
                continue
            step = self._step(query, cascade, settings)
            query.notes += step.notes
            query.candidates = step.candidates
            if step.candidates:
                open_queries.append(query)
        if not open_queries:
            return
        made = self._resynthesis().resynthesizer.resyntheses(
            open_queries, settings, signals=open_queries[0].wanted
        )
        for query, resyntheses in zip(open_queries, made, strict=True):
            query.resyntheses = resyntheses
            query.evidence += resyntheses.evidence
            query.inference_ms += resyntheses.trace.seconds * 1e3
            if cascade is not None:
                self._cascade.learn(cascade, query.trace, query.candidates or (), settings.gamma)

    def _step(
        self, query: Query, cascade: CascadeOptions | None, settings: ResynthesisOptions
    ) -> Step:
        """Return who resynthesises a query, the makers of stored resyntheses among them."""
        names = self._resynthesis().resynthesizer.names
        everybody = tuple(dict.fromkeys([*names, *query.stored]))
        if cascade is None or not query.evidence:
            return Step(everybody)
        return self._cascade.step(
            self._verdict(query, settings).posterior,
            everybody,
            cascade,
            spent_ms=(query.preprocess_ms or 0.0) + query.inference_ms,
            gamma=settings.gamma,
        )

    def _verdict(self, query: Query, settings: ResynthesisOptions) -> Verdict:
        """Fuse the evidence that a query has so far."""
        names = tuple(dict.fromkeys([*self.candidates, *query.stored]))
        made = query.resyntheses
        if made is not None and settings.mode is not Mode.DEFAULT:
            # Here, because its module knows all that compares, and fingerprints alone need none.
            from lineup.resynthesis.resynthesizer import published_verdict  # noqa: PLC0415

            return published_verdict(names, made, settings.mode)
        if made is None and self.calibration is None:
            return verdict_from_evidence(names, query.evidence)
        asks = set(query.wanted) & set(RESYNTHESIS_EVIDENCE)
        return verdict_from_scores(
            names,
            query.evidence,
            calibration=self.calibration,
            options=self.evidence_options(settings) if asks else {FINGERPRINT: {}},
            families=self.families if asks else {},
            caption=None if made is None else made.caption,
        )

    @staticmethod
    def _check_signals(signals: Signals, count: int) -> None:
        shape = signals.fingerprints.shape
        if shape[0] != count or not np.isfinite(signals.fingerprints).all():
            raise BackendError(
                f"The model returned an array of shape {shape} for {count} images, expected one "
                "row of finite numbers per image."
            )


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
        cache: Whether resyntheses and their features are kept on disk.
        calibrated: Whether the lineup's calibration is read; its file need not exist otherwise.
        keep_models: Whether what resynthesises queries stays loaded; otherwise each model is loaded
            for all queries of a group and released before the next one is, which takes least
            memory.

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

    return Engine(
        extractor,
        read_gallery,
        found,
        open_models=open_models if spec.encoder or spec.generators else None,
        calibration=calibration,
        gallery_path=gallery,
    )


def _found(images: str | Path | Iterable[str | Path]) -> Iterator[Path]:
    return find_images([images] if isinstance(images, str | Path) else images)
