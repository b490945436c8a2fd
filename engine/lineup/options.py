"""What is asked of an image: the options of attribution."""

from __future__ import annotations

from dataclasses import dataclass

from lineup.errors import UsageError, did_you_mean
from lineup.results import EVIDENCE_NAMES
from lineup.resynthesis.cascade import CascadeOptions
from lineup.resynthesis.options import ResynthesisOptions


@dataclass(frozen=True, slots=True)
class AttributionOptions:
    """What a verdict rests on.

    Attributes:
        evidence: Some of `EVIDENCE_NAMES`; None takes all that the engine has: the gallery's
            fingerprint, and the resyntheses of a lineup that was named.
        resynthesis: How resyntheses are made; None takes the lineup's defaults.
        cascade: When resynthesis is left out after the fingerprint; None never leaves it out. It
            has no say where no fingerprint is asked for.

    Raises:
        UsageError: An evidence does not exist, or none is named.
    """

    evidence: tuple[str, ...] | None = None
    resynthesis: ResynthesisOptions | None = None
    cascade: CascadeOptions | None = None

    def __post_init__(self) -> None:
        unknown = [name for name in self.evidence or () if name not in EVIDENCE_NAMES]
        if unknown or self.evidence == ():
            raise UsageError(
                f"There is no evidence {', '.join(map(repr, unknown)) or 'named'}.",
                hint=did_you_mean("".join(unknown[:1]), EVIDENCE_NAMES)
                or f"Choose some of: {', '.join(EVIDENCE_NAMES)}.",
            )


DEFAULT_OPTIONS = AttributionOptions()
