"""From queries to verdicts: which evidence is computed for an image, and what it adds up to."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lineup.calibration.calibration import Calibration
from lineup.calibration.verdict import verdict_from_scores
from lineup.errors import UsageError
from lineup.fingerprint import FingerprintExtractor
from lineup.fusion import verdict_from_evidence
from lineup.gallery.gallery import Gallery
from lineup.gallery.kept_fits import KeptFits
from lineup.gallery.opening import gallery_state
from lineup.gallery_evidence import GalleryEvidence
from lineup.lineups.store import Lineup
from lineup.options import (
    DEFAULT_OPTIONS,
    AttributionOptions,
    CascadeOptions,
    Mode,
    ResynthesisOptions,
)
from lineup.query import Query
from lineup.results import (
    EVIDENCE_NAMES,
    FINGERPRINT,
    GENERATED,
    PHOTOGRAPH,
    REFERENCE,
    RESYNTHESIS,
    RESYNTHESIS_EVIDENCE,
    Verdict,
)
from lineup.resynthesis.cascade import Cascade, Step
from lineup.stored.store import StoredResyntheses, open_stored

if TYPE_CHECKING:
    from lineup.lineups.models import ResynthesisModels
    from lineup.reference import ReferenceEncoder
    from lineup.resynthesis.cascade import PlannedTimes


RUN_ID_DIGITS = 12

CHOOSE_LINEUP = "Choose a lineup with generators: `lineup lineups list` shows them."


class Answering(GalleryEvidence):
    """Computes the evidence of queries and fuses it.

    Args:
        extractor: Computes fingerprints; closed with this.
        read_gallery: Returns the known sources; called when they are first needed.
        lineup: Candidates, defaults and calibration; one without any is the gallery alone.
        open_models: Opens what resynthesises queries; None where nothing does.
        open_encoder: Opens what embeds images; None where nothing does.
        calibration: How scores become ratios; None leaves that to the gallery.
        stored: Resyntheses made elsewhere; None is the user's own.
        gallery_path: Where enrolments go; None is the user's own gallery.
        kept: Where fits of galleries are kept; None keeps none.

    Attributes:
        extractor: As given.
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
        open_encoder: Callable[[], ReferenceEncoder] | None = None,
        calibration: Calibration | None = None,
        stored: StoredResyntheses | None = None,
        gallery_path: Path | None = None,
        kept: KeptFits | None = None,
    ) -> None:
        super().__init__(extractor, read_gallery, open_encoder, kept)
        self.lineup = lineup
        self.calibration = calibration
        self._stored = stored or open_stored()
        self._open_models = open_models
        self._gallery_path = gallery_path
        self._gallery_state = gallery_state(gallery_path)
        self._lock = threading.RLock()
        self._process = os.getpid()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Let one thread at a time work, in the process that opened the models."""
        if os.getpid() != self._process:
            # The threads of the models' pools were not copied by fork: a call would wait for ever.
            raise UsageError(
                f"This engine was opened by process {self._process} and is used in process "
                f"{os.getpid()}, which was forked off it.",
                hint="Open an engine in each process, after the fork.",
            )
        with self._lock:
            yield

    @property
    def candidates(self) -> tuple[str, ...]:
        """Every source that may be named: those of the lineup, then of the gallery."""
        listed = [one.name for one in self.lineup.spec.candidates]
        return tuple(dict.fromkeys([*listed, *self.scorer.names]))

    @property
    def evidence(self) -> tuple[str, ...]:
        """What there is of `EVIDENCE_NAMES`, and is computed when nothing is asked for by name."""
        reference = (REFERENCE,) if self.has_reference else ()
        return (FINGERPRINT, *reference, *self._resyntheses)

    @property
    def _resyntheses(self) -> tuple[str, ...]:
        return RESYNTHESIS_EVIDENCE if self.lineup.spec.resynthesising else ()

    @cached_property
    def models(self) -> ResynthesisModels:
        """What resynthesises queries, opened on first use.

        Raises:
            UsageError: Nothing does.
        """
        if self._open_models is None:
            raise UsageError(
                f"The lineup {self.lineup.spec.name!r} has no models that resynthesise.",
                hint=CHOOSE_LINEUP,
            )
        return self._open_models()

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
        with self.working():
            settings = self.settings(options)
            for query in queries:
                query.wanted = self._wanted(options, settings)
                if set(query.wanted) & set(RESYNTHESIS_EVIDENCE):
                    self._look_up(query)
            self.take(queries)
            self._resynthesise(queries, options.cascade, settings)
            for query in queries:
                start = time.perf_counter()
                verdict = self._verdict(query, settings)
                query.verdict = replace(verdict, notes=(*verdict.notes, *query.notes))
                query.ms = query.ms.plus(fuse=(time.perf_counter() - start) * 1e3)

    def columns(self, options: AttributionOptions = DEFAULT_OPTIONS) -> tuple[str, ...]:
        """Return the columns that verdicts fill in a table of rows (`lineup.scan.encoding`)."""
        asked = self.evidence_of(options)
        listed = tuple(one.name for one in self.lineup.spec.candidates)
        spoken_of = {FINGERPRINT: self.scorer.names}
        if REFERENCE in asked:
            spoken_of[REFERENCE] = self.reference_scorer.names
        columns = [f"posterior.{name}" for name in (*self.candidates, GENERATED, PHOTOGRAPH)]
        for evidence in asked:
            sources = spoken_of.get(evidence, listed)
            columns += [f"{evidence}.score.{name}" for name in sources]
            columns += [f"{evidence}.llr.{name}" for name in sources]
            if evidence == FINGERPRINT and self.extractor.tells_real:
                columns.append(f"{PHOTOGRAPH}.llr.{PHOTOGRAPH}")
        return tuple(columns)

    def evidence_of(self, options: AttributionOptions) -> tuple[str, ...]:
        """Return the evidence that these options ask for, cheapest first."""
        asked = _with_fingerprint(options.evidence or self.evidence)
        if self.settings(options).mode is not Mode.DEFAULT:
            asked &= {RESYNTHESIS}
        return tuple(name for name in EVIDENCE_NAMES if name in asked)

    def evidence_options(self, settings: ResynthesisOptions) -> dict[str, Mapping[str, str | int]]:
        """Return, per evidence, what its scores depend on: a calibration holds for these only."""
        if self._open_models is None:
            return {FINGERPRINT: {}}
        return {FINGERPRINT: {}, **self.models.resynthesizer.evidence_options(settings)}

    @property
    def families(self) -> Mapping[str, str]:
        """Name of the VAE family per candidate that can be resynthesised by; opens the models."""
        return {} if self._open_models is None else self.models.families

    def settings(self, options: AttributionOptions) -> ResynthesisOptions:
        """Return how resyntheses are made: as asked for, or as the lineup says."""
        return options.resynthesis or self.lineup.spec.resynthesis

    def run_id(self, options: AttributionOptions = DEFAULT_OPTIONS) -> str:
        """Return 12 hex digits that change when the models, the gallery or the question do."""
        asked = self.evidence_of(options)
        # The keys as well: rows that call them otherwise cannot be read as these.
        parts = [self.extractor.digest, self.gallery.digest, GENERATED, PHOTOGRAPH, *asked]
        parts += [self.encoder.digest, self.encoder.head_digest] if REFERENCE in asked else []
        parts.append("null" if self.calibration is None else self.calibration.text)
        if set(asked) & set(RESYNTHESIS_EVIDENCE):
            parts += [*self.models.digests, repr(self.settings(options)), self._stored.revision]
            parts += [] if options.cascade is None else [repr(options.cascade)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:RUN_ID_DIGITS]

    def close(self) -> None:
        """Release the models."""
        try:
            if "models" in self.__dict__:
                self.models.close()
        finally:
            super().close()

    @cached_property
    def _cascade(self) -> Cascade:
        models = self.models
        return Cascade(models.resynthesizer.names, models.families, self._planned_times)

    def _planned_times(self) -> PlannedTimes | None:
        # Here, because it knows all kinds of models, and fingerprints alone need none.
        from lineup.planning.costs import planned_times  # noqa: PLC0415

        return planned_times(self.lineup, self.models.runtime)

    def _look_up(self, query: Query) -> None:
        """Find the resyntheses of a query that were made elsewhere, and say which are not there."""
        names = [one.name for one in self.lineup.spec.candidates if one.stored]
        if names and query.sha256 is not None:
            query.stored = self._stored.of_query(query.sha256, names)
        missing = [name for name in names if name not in query.stored]
        if missing:
            query.notes.append(f"no stored resyntheses of this image by {', '.join(missing)}")

    def _wanted(self, options: AttributionOptions, settings: ResynthesisOptions) -> tuple[str, ...]:
        """Return the evidence to compute for a query: what was asked for, or all there is."""
        there = {FINGERPRINT, *self._resyntheses}
        # That there is a reference is known by opening its bundle: not where nobody asks for it.
        if not options.evidence or REFERENCE in options.evidence:
            there |= set(self.evidence)
        if settings.mode is not Mode.DEFAULT:
            there &= {RESYNTHESIS}
        asked = _with_fingerprint(options.evidence or there)
        wanted = tuple(name for name in EVIDENCE_NAMES if name in asked)
        missing = [name for name in wanted if name not in there]
        if missing or not wanted:
            raise UsageError(
                f"The lineup {self.lineup.spec.name!r} does not give the evidence "
                f"{', '.join(missing) or RESYNTHESIS} in mode {settings.mode.value}.",
                hint=f"It gives: {', '.join(sorted(there))}." if there else CHOOSE_LINEUP,
            )
        return wanted

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
        made = self.models.resynthesizer.resyntheses(
            open_queries, settings, signals=open_queries[0].wanted
        )
        for query, resyntheses in zip(open_queries, made, strict=True):
            query.resyntheses = resyntheses
            query.evidence += resyntheses.evidence
            query.ms = query.ms.plus(inference=resyntheses.trace.seconds * 1e3)
            if cascade is not None:
                self._cascade.learn(cascade, query.trace, query.candidates or (), settings.gamma)

    def _step(
        self, query: Query, cascade: CascadeOptions | None, settings: ResynthesisOptions
    ) -> Step:
        """Return who resynthesises a query, the makers of stored resyntheses among them."""
        everybody = (*self.models.resynthesizer.able, *query.stored)
        if cascade is None or not query.evidence:
            return Step(everybody)
        return self._cascade.step(
            self._verdict(query, settings).posterior,
            everybody,
            cascade,
            spent_ms=query.work_ms,
            gamma=settings.gamma,
        )

    def _verdict(self, query: Query, settings: ResynthesisOptions) -> Verdict:
        """Fuse the evidence that a query has so far."""
        names = self.candidates
        made = query.resyntheses
        if made is not None and settings.mode is not Mode.DEFAULT:
            # Here, because its module knows all that compares, and fingerprints alone need none.
            from lineup.resynthesis.resynthesizer import published_verdict  # noqa: PLC0415

            return published_verdict(names, made, settings.mode)
        if made is None and self.calibration is None:
            best = self.reference_scorer if REFERENCE in query.wanted else self.scorer
            return verdict_from_evidence(names, query.evidence, best.families)
        asks = set(query.wanted) & set(RESYNTHESIS_EVIDENCE)
        return verdict_from_scores(
            names,
            query.evidence,
            calibration=self.calibration,
            options=self.evidence_options(settings) if asks else {FINGERPRINT: {}},
            families=self.families if asks else {},
            caption=None if made is None else made.caption,
        )


def _with_fingerprint(asked: Iterable[str]) -> set[str]:
    """Return evidence with the fingerprint where the reference needs it: it is what that adds."""
    names = set(asked)
    return names | {FINGERPRINT} if REFERENCE in names else names
