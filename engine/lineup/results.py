"""What the engine answers: frozen records that the command line, a scan row and Python share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

UNKNOWN = "unknown"
"""Posterior key: a generator (or any other origin) that is not in the gallery."""

REAL = "real"
"""Posterior key: a photograph."""


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
