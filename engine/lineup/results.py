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
    """

    name: str
    scores: Mapping[str, float]
    llr: Mapping[str, float]
    cost_ms: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The engine's answer about one query.

    Attributes:
        label: The answer: a candidate where it is likelier than none of them, else `UNKNOWN` or
            `REAL`.
        posterior: Probability per candidate, and of `UNKNOWN` and `REAL`; sums to 1.
        evidence: What the posterior rests on, cheapest first.
    """

    label: str
    posterior: Mapping[str, float]
    evidence: tuple[Evidence, ...] = field(default=())

    @property
    def confidence(self) -> float:
        """Posterior probability of `label`, 0..1."""
        return self.posterior[self.label]
