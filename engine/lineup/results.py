"""What the engine answers: frozen records that the command line, a scan and Python share.

The dictionary of an `Attribution` is the one row of the project: `lineup scan`, `lineup attribute
--json` and `Attribution.to_dict` write the same keys, which `docs/row.schema.json` defines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lineup._version import __version__
from lineup.errors import LineupError

if TYPE_CHECKING:
    from lineup.trace import Trace
    from lineup.types import RgbImage

UNKNOWN = "unknown"
"""Posterior key: a generator (or any other origin) that is not in the gallery."""

REAL = "real"
"""Posterior key: a photograph; also the name of the evidence that speaks of it."""

FINGERPRINT = "fingerprint"
RESYNTHESIS = "resynthesis"
RESYNTHESIS_FINGERPRINT = "resynthesis-fingerprint"
RESYNTHESIS_EVIDENCE = (RESYNTHESIS, RESYNTHESIS_FINGERPRINT)
EVIDENCE_NAMES = (FINGERPRINT, *RESYNTHESIS_EVIDENCE)
"""Every evidence that can be asked for, cheapest first; `REAL` comes with the fingerprint."""

SIGNIFICANT_DIGITS = 7
"""Of every score in a row: all that float32 holds."""

MAX_MESSAGE_LENGTH = 2000
"""Of an error in a row; some libraries quote their whole input."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One signal's answer about one query.

    Attributes:
        name: Which evidence, e.g. "fingerprint".
        scores: Raw score per source; higher means closer. Range depends on the evidence
            (fingerprint: cosine, -1..1).
        llr: Calibrated natural-log likelihood ratio per source: "made by this source" against
            "made by anything else".
        cost_ms: Time spent on this evidence for this query, in milliseconds.
        notes: Remarks on how far the evidence can be trusted, e.g. an image below the tile size.
        samples: Where a score sums up several resyntheses, the score of each by itself per
            source, in the order of their seeds.
    """

    name: str
    scores: Mapping[str, float]
    llr: Mapping[str, float]
    cost_ms: float
    notes: tuple[str, ...] = ()
    samples: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return {scores, llr, samples, cost_ms, notes} as JSON values."""
        return {
            "scores": _numbers(self.scores),
            "llr": _numbers(self.llr),
            "samples": {
                name: [_number(value) for value in values] for name, values in self.samples.items()
            },
            "cost_ms": _milliseconds(self.cost_ms),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Resynthesis:
    """An image that a candidate made of a query's caption.

    Attributes:
        candidate: Who made it.
        pixels: Shape (H, W, 3), uint8 RGB.
        parts: What it follows from, as JSON values; its features are kept under it.
    """

    candidate: str
    pixels: RgbImage
    parts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Resyntheses:
    """What the candidates made of a query's caption, and how close it comes.

    Attributes:
        caption: What was resynthesised; None when every resynthesis was stored.
        images: The resyntheses per candidate, in the order of their seeds, stored ones last; shape
            (H, W, 3), uint8 RGB.
        best: Index of the closest one per candidate.
        evidence: One per signal, not calibrated: `llr` is empty.
        trace: Calls and seconds.
    """

    caption: str | None
    images: Mapping[str, tuple[RgbImage, ...]]
    best: Mapping[str, int]
    evidence: tuple[Evidence, ...]
    trace: Trace

    def best_image(self, candidate: str) -> RgbImage:
        """Return the closest resynthesis of a candidate."""
        return self.images[candidate][self.best[candidate]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The engine's answer about one query.

    Attributes:
        label: The answer: a candidate where it is likelier than none of them, else `UNKNOWN` or
            `REAL`. Of a family it is the most probable member.
        posterior: Probability per candidate, and of `UNKNOWN` and `REAL`; sums to 1.
        evidence: What the posterior rests on, cheapest first.
        family: Where the label's siblings (candidates that share its VAE) cannot be told from it:
            all of them, the label included, most probable first. Else empty.
        candidates_set: Conformal set: holds the true label, which may be `UNKNOWN` or `REAL`, at
            the level of the calibration. Always holds `label`; empty without a calibration.
        fused_llr: Natural-log likelihood ratio per candidate (and of `REAL` where evidence speaks
            of it) against unknown, after the evidences were weighted; the posterior follows from
            it and the prior.
        caption: What the resyntheses were made from; None when none were made.
        notes: Remarks on the verdict as a whole, e.g. evidence without a calibration.
    """

    label: str
    posterior: Mapping[str, float]
    evidence: tuple[Evidence, ...] = field(default=())
    family: tuple[str, ...] = ()
    candidates_set: tuple[str, ...] = ()
    fused_llr: Mapping[str, float] = field(default_factory=dict)
    caption: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The answer as people read it: the label, or all members of an inseparable family."""
        return " or ".join(self.family) if self.family else self.label

    @property
    def title_probability(self) -> float:
        """Posterior probability of what `title` says, 0..1."""
        return sum(self.posterior[name] for name in self.family or (self.label,))

    @property
    def confidence(self) -> float:
        """Posterior probability of `label`, 0..1."""
        return self.posterior[self.label]


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
        others: Number of images that the false-accept rate is measured on.
        other_sources: Number of sources that they are of.
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
    others: int
    other_sources: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Classification:
    """The class that a fitted classifier gives an image.

    Attributes:
        label: The most probable class; `UNKNOWN` is one where the classifier has a reject class.
        probabilities: Per class, most probable first; sums to 1.
        sha256: Of the image.
        notes: Remarks on how far the answer can be trusted.
    """

    label: str
    probabilities: Mapping[str, float]
    sha256: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Milliseconds per stage; None for a stage that was not reached.

    Attributes:
        read: Reading the file and hashing its bytes.
        decode: Bytes to RGB pixels.
        preprocess: Pixels to tiles.
        inference: All models: of a batch, the image's share by number of tiles.
        fuse: From scores to the verdict.
    """

    read: float | None = None
    decode: float | None = None
    preprocess: float | None = None
    inference: float | None = None
    fuse: float | None = None

    def plus(self, **more_ms: float) -> StageTimes:
        """Return the times with more of some stages, by name."""
        return replace(
            self, **{name: (getattr(self, name) or 0.0) + one for name, one in more_ms.items()}
        )

    @property
    def total_ms(self) -> float:
        """The sum of what was reached."""
        return sum(getattr(self, stage) or 0.0 for stage in STAGES)


STAGES = ("read", "decode", "preprocess", "inference", "fuse")
"""The fields of `StageTimes`, in the order of the work."""


@dataclass(frozen=True, slots=True)
class RowError:
    """Why an image has no verdict.

    Attributes:
        type: Name of the exception's class, e.g. "UnreadableImageError".
        message: What was wrong, in one sentence.
    """

    type: str
    message: str

    @classmethod
    def from_exception(cls, error: Exception) -> RowError:
        """Describe an exception, in 1 to `MAX_MESSAGE_LENGTH` characters."""
        message = (error.message if isinstance(error, LineupError) else str(error)) or repr(error)
        return cls(type=type(error).__name__, message=message[:MAX_MESSAGE_LENGTH])


@dataclass(frozen=True, slots=True)
class Attribution:
    """The answer about one image; exactly one of `verdict` and `error` is set.

    Attributes:
        path: The file as it was named or found; None for an image that is no file. Bytes of a name
            that are not UTF-8 are lone surrogates, as everywhere in Python (`os.fsencode` restores
            them).
        run: Identity of the question asked: 12 hex digits over fingerprint bundle, gallery and
            evidence. Rows of one run can be compared with each other.
        sha256: Hex digest of the file's content; None when it could not be read.
        size_bytes: Length of the file; None when there is none or it could not be read.
        format: "jpeg", "png", ...; None when there is no file or it could not be decoded.
        width_px: Width after EXIF orientation.
        height_px: Height after EXIF orientation.
        verdict: The engine's answer.
        ms: Time per stage.
        notes: What the reader did to the image, e.g. "first of 12 frames".
        error: Why there is no verdict.
        lineup: Version of lineup that answered.
        resyntheses: What the candidates made of the caption; None when none did. The row has its
            trace.
    """

    path: str | None
    run: str
    sha256: str | None = None
    size_bytes: int | None = None
    format: str | None = None
    width_px: int | None = None
    height_px: int | None = None
    verdict: Verdict | None = None
    ms: StageTimes = StageTimes()
    notes: tuple[str, ...] = ()
    error: RowError | None = None
    lineup: str = __version__
    resyntheses: Resyntheses | None = field(default=None, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the row as JSON values (`docs/row.schema.json`).

        Every key is always present. A value that does not exist is None, and so is a number that
        is not finite.
        """
        verdict = self.verdict
        return {
            "path": self.path,
            "sha256": self.sha256,
            "bytes": self.size_bytes,
            "format": self.format,
            "width": self.width_px,
            "height": self.height_px,
            "verdict": None if verdict is None else verdict.label,
            "confidence": None if verdict is None else _number(verdict.confidence),
            "posterior": None if verdict is None else _numbers(verdict.posterior),
            "evidence": None
            if verdict is None
            else {one.name: one.to_dict() for one in verdict.evidence},
            "family": None if verdict is None else list(verdict.family),
            "candidates_set": None if verdict is None else list(verdict.candidates_set),
            "caption": None if verdict is None else verdict.caption,
            "verdict_notes": None if verdict is None else list(verdict.notes),
            "ms": {stage: _milliseconds(getattr(self.ms, stage)) for stage in STAGES},
            "resynthesis": None if self.resyntheses is None else self.resyntheses.trace.to_dict(),
            "notes": list(self.notes),
            "error": None
            if self.error is None
            else {"type": self.error.type, "message": self.error.message},
            "lineup": self.lineup,
            "run": self.run,
        }


def _numbers(values: Mapping[str, float]) -> dict[str, float | None]:
    return {key: _number(value) for key, value in values.items()}


def _number(value: float) -> float | None:
    # JSON has no NaN and no infinity; a row must stay readable for every parser.
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else None


def _milliseconds(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
