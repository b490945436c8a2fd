"""The engine: a fingerprint extractor and a gallery, answering about images.

    from lineup import open_engine

    with open_engine() as engine:
        verdict = engine.attribute(pixels)

It answers from fingerprints alone; `lineup.attribution` adds the evidence of a lineup.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lineup.closing import ClosesOnExit
from lineup.errors import SourceNotFoundError
from lineup.evidence.fingerprint import FingerprintExtractor, open_extractor
from lineup.fusion import verdict_from_evidence
from lineup.gallery.gallery import Gallery, SourceRole, SupportSet
from lineup.gallery.opening import joined_gallery, open_gallery
from lineup.gallery.scoring import SourceScorer
from lineup.results import REAL, Evidence, Verdict
from lineup.types import Float32Array, RgbImage

FINGERPRINT_EVIDENCE = "fingerprint"
REAL_EVIDENCE = "real"
RUN_ID_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether one source made an image.

    Attributes:
        source: The source that was asked about.
        accepted: True when a match is likelier than not, at even prior odds.
        probability: Of a match, at even prior odds, 0..1.
        score: Mean cosine with the source's fingerprints, -1..1.
        llr: Natural-log likelihood ratio, match against no match.
        false_accept_rate: Share of the gallery's other images that score at least as high;
            NaN when there are none.
        false_reject_rate: Share of the source's own images that score lower;
            NaN when it has fewer than two.
        support: Number of images in the source's support set.
        notes: Remarks on how far the answer can be trusted.
    """

    source: str
    accepted: bool
    probability: float
    score: float
    llr: float
    false_accept_rate: float
    false_reject_rate: float
    support: int
    notes: tuple[str, ...] = ()


class Engine(ClosesOnExit):
    """Attributes and verifies images; a context manager that owns the loaded models.

    Attributes:
        extractor: Computes fingerprints.
        gallery: The known sources.
    """

    def __init__(self, extractor: FingerprintExtractor, gallery: Gallery) -> None:
        self.extractor = extractor
        self.gallery = gallery
        self._scorer = SourceScorer(gallery)

    @property
    def names(self) -> tuple[str, ...]:
        """The gallery's candidates."""
        return self._scorer.names

    def attribute(self, pixels: RgbImage) -> Verdict:
        """Tell which source made an image.

        Args:
            pixels: Shape (height, width, 3), uint8 RGB, as decoded: never resized.
        """
        start = time.perf_counter()
        signals = self.extractor.signals_from_tiles([self.extractor.tiles(pixels)])
        cost_ms = (time.perf_counter() - start) * 1e3
        return self.verdicts(
            signals.fingerprints,
            real_llrs=signals.real_llrs,
            notes=[self.extractor.notes(pixels)],
            costs_ms=[cost_ms],
        )[0]

    def verdicts(
        self,
        fingerprints: Float32Array,
        *,
        real_llrs: Float32Array | None = None,
        notes: Sequence[tuple[str, ...]] | None = None,
        costs_ms: Sequence[float] | None = None,
    ) -> list[Verdict]:
        """Turn fingerprints into verdicts.

        Args:
            fingerprints: Shape (queries, dimension), float32, rows of length 1.
            real_llrs: Log likelihood ratio of each query being a photograph, shape (queries,);
                None where the bundle does not tell.
            notes: One tuple of remarks per query, kept in its evidence.
            costs_ms: What each fingerprint cost, kept in its evidence.
        """
        found = self.fingerprint_evidence(fingerprints, notes=notes, costs_ms=costs_ms)
        if real_llrs is not None:
            return [
                verdict_from_evidence(self.names, [evidence, real_evidence(llr)])
                for evidence, llr in zip(found, real_llrs.tolist(), strict=True)
            ]
        return [verdict_from_evidence(self.names, [evidence]) for evidence in found]

    def fingerprint_evidence(
        self,
        fingerprints: Float32Array,
        *,
        notes: Sequence[tuple[str, ...]] | None = None,
        costs_ms: Sequence[float] | None = None,
    ) -> list[Evidence]:
        """Turn fingerprints into evidence, with ratios calibrated on the gallery itself.

        Args:
            fingerprints: Shape (queries, dimension), float32, rows of length 1.
            notes: One tuple of remarks per query.
            costs_ms: What each fingerprint cost.
        """
        scores = self._scorer.scores(fingerprints)
        llrs = self._scorer.llrs(scores)
        return [
            Evidence(
                name=FINGERPRINT_EVIDENCE,
                scores=dict(zip(self.names, scores[row].tolist(), strict=True)),
                llr=dict(zip(self.names, llrs[row].tolist(), strict=True)),
                cost_ms=costs_ms[row] if costs_ms is not None else 0.0,
                notes=notes[row] if notes is not None else (),
            )
            for row in range(len(fingerprints))
        ]

    def verify(self, pixels: RgbImage, source: str) -> Verification:
        """Test whether one source made an image.

        Args:
            pixels: Shape (height, width, 3), uint8 RGB, as decoded: never resized.
            source: A candidate of the gallery.

        Raises:
            SourceNotFoundError: The gallery has no such source, or it holds photographs.
        """
        support = self.candidate(source)
        scores = self._scorer.scores(self.extractor.fingerprints([pixels]))
        column = self._scorer.names.index(source)
        score = float(scores[0, column])
        llr = float(self._scorer.llrs(scores)[0, column])
        return Verification(
            source=source,
            accepted=llr > 0,
            probability=1 / (1 + math.exp(-llr)),
            score=score,
            llr=llr,
            false_accept_rate=self._scorer.false_accept_rate(source, score),
            false_reject_rate=self._scorer.false_reject_rate(source, score),
            support=len(support),
            notes=self.extractor.notes(pixels),
        )

    def candidate(self, source: str) -> SupportSet:
        """Return the support set of a source that a query can be attributed to.

        Raises:
            SourceNotFoundError: The gallery has no such source, or it holds photographs.
        """
        support = self.gallery.source(source)
        if support.role is not SourceRole.CANDIDATE:
            raise SourceNotFoundError(
                f"{source!r} holds photographs, which have no fingerprint in common.",
                hint=f"Choose one of: {', '.join(self._scorer.names)}.",
            )
        return support

    def run_id(self, evidence: Sequence[str]) -> str:
        """Return 12 hex digits that change when the model, the gallery or the evidence does."""
        parts = [self.extractor.digest, self.gallery.digest, *evidence]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:RUN_ID_DIGITS]

    def close(self) -> None:
        """Release the models."""
        self.extractor.close()


def real_evidence(llr: float) -> Evidence:
    """Return what the fingerprint bundle says about a query being a photograph.

    It comes out of the same run of the model as the fingerprint, whose cost includes it.
    """
    return Evidence(name=REAL_EVIDENCE, scores={}, llr={REAL: llr}, cost_ms=0.0)


def open_engine(
    *,
    device: str = "auto",
    threads: int = 0,
    fingerprint: str | Path | None = None,
    gallery: Path | None = None,
    joining: Path | None = None,
) -> Engine:
    """Load the models and the gallery.

    Args:
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `tensorrt`.
        threads: Threads on the CPU; 0 takes every core.
        fingerprint: Bundle name or folder; None takes the shipped one.
        gallery: Gallery folder; None takes the shipped one together with the user's own.
        joining: Folder of a gallery that joins that one; see `joined_gallery`.

    Raises:
        LineupError: A bundle, the gallery or the device cannot be used.
    """
    extractor = open_extractor(fingerprint, device=device, threads=threads)
    try:
        known = (
            open_gallery(gallery, fingerprint_digest=extractor.digest)
            if joining is None or gallery is not None
            else joined_gallery(joining, fingerprint_digest=extractor.digest)
        )
        return Engine(extractor, known)
    except BaseException:
        extractor.close()
        raise
