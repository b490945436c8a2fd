"""Attribution by all evidence of a lineup: fingerprints, resyntheses, calibrated fusion.

    from lineup import image_from_path, open_lineup_engine

    with open_lineup_engine() as engine:
        verdict = engine.attribute(image_from_path(path).pixels)

Captioner, encoder and generators are loaded only when their evidence is asked for.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from lineup.calibration.calibration import Calibration
from lineup.calibration.io import read_calibration
from lineup.calibration.verdict import verdict_from_scores
from lineup.closing import ClosesOnExit
from lineup.engine import FINGERPRINT_EVIDENCE, RUN_ID_DIGITS, Engine, open_engine, real_evidence
from lineup.errors import UsageError
from lineup.evidence.batch import Signals
from lineup.evidence.distances import softmax
from lineup.evidence.provided import ProvidedImage, ProvidedStore, open_provided
from lineup.evidence.resynthesis import (
    NONE_PROVIDED,
    RESYNTHESIS,
    RESYNTHESIS_FINGERPRINT,
    SIGNALS,
    Resynthesis,
    Resynthesizer,
)
from lineup.evidence.resynthesis_options import Mode, ResynthesisOptions
from lineup.fusion import verdict_from_evidence
from lineup.lineups.models import ResynthesisModels
from lineup.lineups.store import Lineup, open_lineup
from lineup.results import REAL, UNKNOWN, Evidence, Verdict
from lineup.types import RgbImage

EVIDENCE_NAMES = (FINGERPRINT_EVIDENCE, *SIGNALS)
"""Every evidence there is, cheapest first."""


@dataclass(frozen=True, slots=True)
class AttributionOptions:
    """What a verdict rests on.

    Attributes:
        evidence: Some of `EVIDENCE_NAMES`; None takes all that the lineup has.
        resynthesis: How resyntheses are made; None takes the lineup's defaults.
    """

    evidence: tuple[str, ...] | None = None
    resynthesis: ResynthesisOptions | None = None

    def __post_init__(self) -> None:
        unknown = [name for name in self.evidence or () if name not in EVIDENCE_NAMES]
        if unknown or self.evidence == ():
            raise UsageError(
                f"There is no evidence {', '.join(map(repr, unknown)) or 'named'}.",
                hint=f"Choose some of: {', '.join(EVIDENCE_NAMES)}.",
            )


DEFAULT_OPTIONS = AttributionOptions()


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
        settings = options.resynthesis or self.lineup.spec.resynthesis
        provided = self._provided_images(query_sha256)
        wanted = self._wanted(options.evidence, settings, provided)
        laps = [time.perf_counter()]
        tiles = self.engine.extractor.tiles(pixels)
        laps.append(time.perf_counter())
        evidence, signals, resynthesis = [], None, None
        if {FINGERPRINT_EVIDENCE, RESYNTHESIS_FINGERPRINT} & set(wanted):
            signals = self.engine.extractor.signals_from_tiles([tiles])
        if FINGERPRINT_EVIDENCE in wanted and signals is not None:
            cost_ms = (time.perf_counter() - laps[0]) * 1e3
            evidence.append(self._fingerprint_evidence(pixels, signals, cost_ms))
            if signals.real_llrs is not None:
                evidence.append(real_evidence(float(signals.real_llrs[0])))
        if set(wanted) & set(SIGNALS):
            resynthesis = self._models.resynthesizer.resynthesis(
                pixels,
                settings,
                signals=wanted,
                query_fingerprint=None if signals is None else signals.fingerprints[0],
                provided=provided,
            )
            evidence += resynthesis.evidence
        laps.append(time.perf_counter())
        names = tuple(dict.fromkeys([*self.candidates, *provided]))
        verdict = self._verdict(names, evidence, settings, resynthesis)
        laps.append(time.perf_counter())
        preprocess_ms, inference_ms, fuse_ms = (
            (end - start) * 1e3 for start, end in itertools.pairwise(laps)
        )
        return Attribution(verdict, resynthesis, preprocess_ms, inference_ms, fuse_ms)

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
        parts = [self.engine.run_id(evidence), repr(self.calibration)]
        if set(evidence) & set(SIGNALS):
            settings = options.resynthesis or self.lineup.spec.resynthesis
            parts += [*self._models.digests, repr(settings)]
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

    def _fingerprint_evidence(self, pixels: RgbImage, signals: Signals, cost_ms: float) -> Evidence:
        return self.engine.fingerprint_evidence(
            signals.fingerprints,
            notes=[self.engine.extractor.notes(pixels)],
            costs_ms=[cost_ms],
        )[0]

    def _verdict(
        self,
        names: tuple[str, ...],
        evidence: Sequence[Evidence],
        settings: ResynthesisOptions,
        resynthesis: Resynthesis | None,
    ) -> Verdict:
        if resynthesis is not None and settings.mode is not Mode.DEFAULT:
            return _published_verdict(names, resynthesis, settings.mode)
        if resynthesis is None and self.calibration is None:
            return verdict_from_evidence(names, evidence)
        return verdict_from_scores(
            names,
            evidence,
            calibration=self.calibration,
            options=self.evidence_options(settings),
            families=self._models.families,
            caption=None if resynthesis is None else resynthesis.caption,
        )


def open_lineup_engine(
    lineup: str | Path | Lineup | None = None,
    *,
    evidence: Sequence[str] | None = None,
    device: str = "auto",
    threads: int = 0,
    fingerprint: str | Path | None = None,
    gallery: Path | None = None,
    cache: bool = True,
    calibrated: bool = True,
) -> LineupEngine:
    """Load a lineup.

    Args:
        lineup: Name, path or opened lineup; None takes the default (`open_lineup`).
        evidence: What will be asked for, some of `EVIDENCE_NAMES`; None is everything. What only
            resynthesis needs is not loaded when it is not among them.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `tensorrt`.
        threads: Threads on the CPU; 0 takes every core.
        fingerprint: Bundle name or folder; None takes the lineup's.
        gallery: Gallery folder; None takes the lineup's.
        cache: Whether resyntheses and their features are kept on disk.
        calibrated: Whether the lineup's calibration is read; its file need not exist otherwise.

    Raises:
        LineupError: The lineup, a bundle, the gallery or the device cannot be used.
    """
    found = lineup if isinstance(lineup, Lineup) else open_lineup(lineup)
    spec = found.spec
    if fingerprint is None and spec.fingerprint is not None:
        fingerprint = found.bundle(spec.fingerprint)
    with ExitStack() as stack:
        engine = stack.enter_context(
            open_engine(
                device=device,
                threads=threads,
                fingerprint=fingerprint,
                gallery=gallery or found.gallery,
            )
        )
        models = stack.enter_context(
            _models(found, engine, evidence, device=device, threads=threads, cache=cache)
        )
        calibration = None
        if calibrated and found.calibration is not None:
            calibration = read_calibration(found.calibration)
        stack.pop_all()
    return LineupEngine(
        engine, found, models=models, calibration=calibration, provided=open_provided()
    )


def _models(
    lineup: Lineup,
    engine: Engine,
    evidence: Sequence[str] | None,
    *,
    device: str,
    threads: int,
    cache: bool,
) -> ResynthesisModels:
    """Return what redraws queries, or compares resyntheses made elsewhere at least."""
    if evidence is not None and not set(evidence) & set(SIGNALS):
        return ResynthesisModels(Resynthesizer({}))
    if lineup.spec.encoder is None:
        return ResynthesisModels(Resynthesizer({}, fingerprinter=engine.extractor))
    # Here, because nobody who attributes by fingerprints alone should wait for it.
    from lineup.lineups.opening import open_resynthesis_models  # noqa: PLC0415

    return open_resynthesis_models(
        lineup, engine.extractor, device=device, threads=threads, cache=cache
    )


def _published_verdict(names: Sequence[str], resynthesis: Resynthesis, mode: Mode) -> Verdict:
    """Return the closed-set answer of papers A and B: the closest candidate, softmax of scores.

    Nothing is said on `UNKNOWN` and `REAL`, which the papers do not have.
    """
    (evidence,) = resynthesis.evidence
    shares = dict(zip(evidence.scores, softmax(list(evidence.scores.values())), strict=True))
    posterior = dict.fromkeys([*names, UNKNOWN, REAL], 0.0) | shares
    return Verdict(
        label=max(evidence.scores, key=evidence.scores.__getitem__),
        posterior=posterior,
        evidence=(evidence,),
        caption=resynthesis.caption,
        notes=(f"{mode.value}: one of the candidates by assumption; shares are not calibrated",),
    )
