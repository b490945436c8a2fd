"""What a verdict may rest on."""

from __future__ import annotations

from dataclasses import dataclass

from lineup.attribution.cascade import CascadeOptions
from lineup.engine import FINGERPRINT_EVIDENCE
from lineup.errors import UsageError
from lineup.evidence.resynthesis import SIGNALS
from lineup.evidence.resynthesis_options import ResynthesisOptions

EVIDENCE_NAMES = (FINGERPRINT_EVIDENCE, *SIGNALS)
"""Every evidence there is, cheapest first."""


@dataclass(frozen=True, slots=True)
class AttributionOptions:
    """What a verdict rests on.

    Attributes:
        evidence: Some of `EVIDENCE_NAMES`; None takes all that the lineup has.
        resynthesis: How resyntheses are made; None takes the lineup's defaults.
        cascade: When resynthesis is left out after the fingerprint; None never leaves it out. It
            has no say where no fingerprint is asked for.
    """

    evidence: tuple[str, ...] | None = None
    resynthesis: ResynthesisOptions | None = None
    cascade: CascadeOptions | None = None

    def __post_init__(self) -> None:
        unknown = [name for name in self.evidence or () if name not in EVIDENCE_NAMES]
        if unknown or self.evidence == ():
            raise UsageError(
                f"There is no evidence {', '.join(map(repr, unknown)) or 'named'}.",
                hint=f"Choose some of: {', '.join(EVIDENCE_NAMES)}.",
            )


DEFAULT_OPTIONS = AttributionOptions()
