"""The engine of a lineup: which evidence is computed for an image, and the verdict it gives.

    from lineup import image_from_path, open_lineup_engine

    with open_lineup_engine() as engine:
        verdict = engine.attribute(image_from_path(path).pixels)

Captioner, encoder and generators are loaded only when their evidence is asked for.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from lineup.attribution.cascade import Cascade, CascadeOptions, Step
from lineup.attribution.cases import Case, Query
from lineup.attribution.options import DEFAULT_OPTIONS, EVIDENCE_NAMES, AttributionOptions
from lineup.attribution.published import published_verdict
from lineup.calibration.calibration import CALIBRATION, Calibration
from lineup.calibration.verdict import verdict_from_scores
from lineup.closing import ClosesOnExit
from lineup.engine import FINGERPRINT_EVIDENCE, RUN_ID_DIGITS, Engine, real_evidence
from lineup.errors import UsageError
from lineup.evidence.fingerprint import FingerprintExtractor
from lineup.evidence.provided import NONE_PROVIDED, ProvidedImage, ProvidedStore
from lineup.evidence.resynthesis import (
    RESYNTHESIS,
    RESYNTHESIS_FINGERPRINT,
    SIGNALS,
    Resynthesis,
)
from lineup.evidence.resynthesis_options import Mode, ResynthesisOptions
from lineup.fusion import verdict_from_evidence
from lineup.lineups.models import ResynthesisModels
from lineup.lineups.store import Lineup
from lineup.results import Verdict
from lineup.types import RgbImage


@dataclass(frozen=True, slots=True)
class Attribution:
    """A verdict and what led to it.

    Attributes:
        verdict: The answer.
        resynthesis: What the candidates drew; None when none did.
        preprocess_ms: Cutting the query into tiles.
        inference_ms: All models.
        fuse_ms: From scores to the verdict.
    """

    verdict: Verdict
    resynthesis: Resynthesis | None
    preprocess_ms: float
    inference_ms: float
    fuse_ms: float


class LineupEngine(ClosesOnExit):
    """Attributes images by the evidence of a lineup; a context manager that owns its models.

    Args:
        engine: Fingerprints and the gallery.
        lineup: Names and defaults.
        models: What redraws queries; owned by the engine.
        calibration: How scores become ratios; None leaves that to the gallery, and evidence
            without a rule of its own to `lineup.calibration.verdict.default_ratios`.
        provided: Resyntheses made elsewhere.

    Attributes:
        engine: Fingerprints and the gallery.
        lineup: Names and defaults.
        calibration: How scores become ratios.
        candidates: Every source that may be named: those of the lineup, then of the gallery.
        evidence: What the lineup has of `EVIDENCE_NAMES`.
    """

    def __init__(
        self,
        engine: Engine,
        lineup: Lineup,
        *,
        models: ResynthesisModels,
        calibration: Calibration | None = None,
        provided: ProvidedStore | None = None,
    ) -> None:
        self.engine = engine
        self.lineup = lineup
        self.calibration = calibration
        listed = [one.name for one in lineup.spec.candidates]
        self.candidates = tuple(dict.fromkeys([*listed, *engine.names]))
        signals = models.resynthesizer.signals if models.resynthesizer.names else ()
        self.evidence = (FINGERPRINT_EVIDENCE, *signals)
        self._models = models
        self._provided = provided
        self._cascade = Cascade(lineup, models.resynthesizer.names, models.families)

    def attribute(
        self,
        pixels: RgbImage,
        *,
        options: AttributionOptions = DEFAULT_OPTIONS,
        query_sha256: str | None = None,
    ) -> Verdict:
        """Tell which source made an image; see `attribution`."""
        return self.attribution(pixels, options=options, query_sha256=query_sha256).verdict

    def attribution(
        self,
        pixels: RgbImage,
        *,
        options: AttributionOptions = DEFAULT_OPTIONS,
        query_sha256: str | None = None,
    ) -> Attribution:
        """Tell which source made an image, and keep what led to the answer.

        Args:
            pixels: Shape (height, width, 3), uint8 RGB, as decoded: never resized.
            options: Which evidence, and how resyntheses are made.
            query_sha256: Hash of the image's file; resyntheses made elsewhere are filed under it.

        Raises:
            UsageError: The lineup does not have the evidence, or the options do not fit it.
            BackendError: A model failed.
        """
        return self.attributions([Query(pixels, query_sha256)], options=options)[0]

    def attributions(
        self,
        queries: Sequence[Query],
        *,
        options: AttributionOptions = DEFAULT_OPTIONS,
        may_add_candidates: bool = True,
    ) -> list[Attribution]:
        """Tell which source made each of some images, taking every model once for all of them.

        The answers are those that each image gets alone, but for a latency budget, which follows
        what was measured before.

        Args:
            queries: All of them, and their resyntheses, are in memory at once.
            options: Which evidence, and how resyntheses are made.
            may_add_candidates: Whether resyntheses made elsewhere may add candidates that neither
                the lineup nor its gallery has.

        Raises:
            UsageError: The lineup does not have the evidence, or the options do not fit it.
            BackendError: A model failed.
        """
        settings = options.resynthesis or self.lineup.spec.resynthesis
        cases = []
        for query in queries:
            provided = self._provided_images(query.sha256)
            if not may_add_candidates:
                provided = {name: provided[name] for name in provided if name in self.candidates}
            wanted = self._wanted(options.evidence, settings, provided)
            cases.append(Case(query, provided, wanted))
        self._take_fingerprints(cases)
        self._redraw(cases, options.cascade, settings)
        return [self._answer(case, settings) for case in cases]

    @property
    def cutter(self) -> FingerprintExtractor:
        """Cuts images into tiles."""
        return self.engine.extractor

    @property
    def families(self) -> Mapping[str, str]:
        """Name of the VAE family per candidate that can redraw."""
        return self._models.families

    def evidence_options(self, settings: ResynthesisOptions) -> dict[str, Mapping[str, str | int]]:
        """Return, per evidence, what its scores depend on: a calibration holds for these only."""
        signals = self._models.resynthesizer.evidence_options(settings)
        return {FINGERPRINT_EVIDENCE: {}, **signals}

    def run_id(self, options: AttributionOptions = DEFAULT_OPTIONS) -> str:
        """Return 12 hex digits that change when the models, the gallery or the question do."""
        evidence = options.evidence or self.evidence
        parts = [self.engine.run_id(evidence), _calibration_text(self.calibration)]
        if set(evidence) & set(SIGNALS):
            settings = options.resynthesis or self.lineup.spec.resynthesis
            parts += [*self._models.digests, repr(settings)]
            parts += [] if options.cascade is None else [repr(options.cascade)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:RUN_ID_DIGITS]

    def close(self) -> None:
        """Release the models."""
        with ExitStack() as stack:
            stack.callback(self.engine.close)
            stack.callback(self._models.close)

    def _provided_images(self, query_sha256: str | None) -> Mapping[str, Sequence[ProvidedImage]]:
        if self._provided is None or query_sha256 is None:
            return NONE_PROVIDED
        return self._provided.images(query_sha256)

    def _wanted(
        self,
        asked: tuple[str, ...] | None,
        settings: ResynthesisOptions,
        provided: Mapping[str, Sequence[ProvidedImage]],
    ) -> tuple[str, ...]:
        """Return the evidence to compute: what was asked for, or all there is."""
        there = set(self.evidence)
        if provided:
            there |= set(self._models.resynthesizer.signals)
        if settings.mode is not Mode.DEFAULT:
            there &= {RESYNTHESIS}
        wanted = tuple(name for name in EVIDENCE_NAMES if name in (asked or there))
        missing = [name for name in wanted if name not in there]
        if missing or not wanted:
            name = self.lineup.spec.name
            raise UsageError(
                f"The lineup {name!r} does not give the evidence "
                f"{', '.join(missing) or RESYNTHESIS} in mode {settings.mode.value}.",
                hint=f"It gives: {', '.join(sorted(there))}."
                if there
                else "Choose a lineup with generators: `lineup lineups list` shows them.",
            )
        return wanted

    def _take_fingerprints(self, cases: Sequence[Case]) -> None:
        """Compute the fingerprints that are wanted, and the evidence that they are."""
        extractor = self.engine.extractor
        read = [
            case
            for case in cases
            if {FINGERPRINT_EVIDENCE, RESYNTHESIS_FINGERPRINT} & set(case.wanted)
        ]
        tiles = [case.cut(extractor.tiles) for case in read]
        if not read:
            return
        start = time.perf_counter()
        signals = extractor.signals_from_tiles(tiles)
        tile_ms = (time.perf_counter() - start) * 1e3 / sum(map(len, tiles))
        for row, case in enumerate(read):
            case.fingerprint = signals.fingerprints[row]
            case.inference_ms = tile_ms * len(tiles[row])
            if FINGERPRINT_EVIDENCE not in case.wanted:
                continue
            # Row by row: a product of matrices may round otherwise than that of a single row.
            case.evidence += self.engine.fingerprint_evidence(
                signals.fingerprints[row : row + 1],
                notes=[extractor.notes(case.query.pixels)],
                costs_ms=[case.preprocess_ms + case.inference_ms],
            )
            if signals.real_llrs is not None:
                case.evidence.append(real_evidence(float(signals.real_llrs[row])))

    def _redraw(
        self,
        cases: Sequence[Case],
        cascade: CascadeOptions | None,
        settings: ResynthesisOptions,
    ) -> None:
        """Redraw the cases that are open, and add the evidence that comes of it."""
        drawn, queries = [], []
        for case in cases:
            if not set(case.wanted) & set(SIGNALS):
                continue
            step = self._step(case, cascade, settings)
            case.notes += step.notes
            if step.candidates:
                drawn.append(case)
                queries.append(case.redraw_query(step.candidates))
        if not drawn:
            return
        made = self._models.resynthesizer.resyntheses(queries, settings, signals=drawn[0].wanted)
        for case, query, resynthesis in zip(drawn, queries, made, strict=True):
            case.resynthesis = resynthesis
            case.evidence += resynthesis.evidence
            case.inference_ms += resynthesis.cost.seconds * 1e3
            if cascade is not None:
                names = query.candidates or ()
                self._cascade.learn(cascade, resynthesis.cost, names, settings.gamma)

    def _step(
        self, case: Case, cascade: CascadeOptions | None, settings: ResynthesisOptions
    ) -> Step:
        """Return who redraws a case, the makers of provided resyntheses among them."""
        everybody = tuple(dict.fromkeys([*self._models.resynthesizer.names, *case.provided]))
        if cascade is None or not case.evidence:
            return Step(everybody)
        return self._cascade.step(
            self._verdict(case, settings).posterior,
            everybody,
            cascade,
            spent_ms=case.preprocess_ms + case.inference_ms,
            gamma=settings.gamma,
        )

    def _answer(self, case: Case, settings: ResynthesisOptions) -> Attribution:
        start = time.perf_counter()
        verdict = self._verdict(case, settings)
        return Attribution(
            verdict=replace(verdict, notes=(*verdict.notes, *case.notes)),
            resynthesis=case.resynthesis,
            preprocess_ms=case.preprocess_ms,
            inference_ms=case.inference_ms,
            fuse_ms=(time.perf_counter() - start) * 1e3,
        )

    def _verdict(self, case: Case, settings: ResynthesisOptions) -> Verdict:
        """Fuse the evidence that a case has so far."""
        names = tuple(dict.fromkeys([*self.candidates, *case.provided]))
        if case.resynthesis is not None and settings.mode is not Mode.DEFAULT:
            return published_verdict(names, case.resynthesis, settings.mode)
        if case.resynthesis is None and self.calibration is None:
            return verdict_from_evidence(names, case.evidence)
        return verdict_from_scores(
            names,
            case.evidence,
            calibration=self.calibration,
            options=self.evidence_options(settings),
            families=self._models.families,
            caption=None if case.resynthesis is None else case.resynthesis.caption,
        )


def _calibration_text(calibration: Calibration | None) -> str:
    """Return what is the same in every process, which a set's order is not."""
    content = None if calibration is None else CALIBRATION.to_raw(calibration)
    return json.dumps(content, sort_keys=True)
