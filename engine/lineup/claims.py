"""What a file declares of its origin, as everything above the readers carries it.

All of it is text from a stranger: `Claim` bounds and escapes whatever it is given, so that no row
or page has to think of it again. A claim is no evidence: it moves no posterior.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from lineup.text import shown

MOST_CHARACTERS = 200
"""Of a field; what is longer names nobody."""

MOST_DETAILS = 24


class ClaimKind(str, Enum):
    """How the picture came about, by what is declared."""

    GENERATED = "generated"
    EDITED = "edited"
    """A generator changed or added a part."""

    CAPTURED = "captured"
    """By a camera."""

    PROCESSED = "processed"
    """A program wrote the file; nothing is said of how the picture came about."""


class Signature(str, Enum):
    """State of a signed claim."""

    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"
    """It holds, but nobody on the trust list vouches for the signer: anybody could have signed."""

    BROKEN = "broken"


_VERBS = {
    ClaimKind.GENERATED: ("made with", "generated, by what is not said"),
    ClaimKind.EDITED: ("changed with", "changed by a generator that is not named"),
    ClaimKind.CAPTURED: ("photographed with", "a camera's picture"),
    ClaimKind.PROCESSED: ("written by", "nothing on how the picture came about"),
}
"""What stands before the generator's name, and in place of both."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One declaration that a file carries.

    Attributes:
        reader: What carries it: "c2pa", "png", "exif", "xmp", "aigc-label", "watermark", ...
        kind: How the picture came about.
        strength: What vouches for it, in words that end a sentence, e.g. "signed by OpenAI,
            signature holds", "48 of 48 bits agree, by accident 4e-15" or "unsigned text".
        generator: Program or model, as it is named there.
        version: Of the generator.
        details: Further fields, e.g. {"sampler": "Euler a"}.
        signature: Of a signed claim.
        sources: Sources of the shipped gallery that the generator may be.
        excludes: Those that it is not; both are empty for a generator that nobody knows
            (`lineup.origin.generators`).
    """

    reader: str
    kind: ClaimKind
    strength: str
    generator: str | None = None
    version: str | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    signature: Signature | None = None
    sources: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("strength", "generator", "version"):
            text = getattr(self, name)
            clean = None if text is None else shown(text.strip(), MOST_CHARACTERS)
            object.__setattr__(self, name, clean or None)
        pairs = list(self.details.items())[:MOST_DETAILS]
        details = {shown(key, 40): shown(text.strip(), MOST_CHARACTERS) for key, text in pairs}
        object.__setattr__(self, "details", {key: text for key, text in details.items() if text})

    @property
    def text(self) -> str:
        """The claim as people read it, e.g. "made with ChatGPT, signed by OpenAI, ..."."""
        verb, nameless = _VERBS[self.kind]
        named = " ".join(part for part in (self.generator, self.version) if part)
        return f"{verb} {named}, {self.strength}" if named else f"{nameless}, {self.strength}"

    def to_dict(self) -> dict[str, Any]:
        """Return the claim as JSON values."""
        return {
            "reader": self.reader,
            "kind": self.kind.value,
            "generator": self.generator,
            "version": self.version,
            "signature": None if self.signature is None else self.signature.value,
            "strength": self.strength,
            "sources": list(self.sources),
            "details": dict(self.details),
        }


@dataclass(frozen=True, slots=True)
class Origin:
    """All that a file declares; nothing declared is evidence of nothing.

    Attributes:
        claims: The strongest first.
        notes: What is there and was not read, and why.
    """

    claims: tuple[Claim, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def statement(self) -> str | None:
        """The strongest claim as a sentence; None where nothing is claimed."""
        if not self.claims:
            return None
        more = len(self.claims) - 1
        others = f" ({more} more claim{'s' if more > 1 else ''})" if more else ""
        return f"The file declares: {self.claims[0].text}{others}."

    def disagreement(self, named: Sequence[str], title: str) -> str | None:
        """Tell where a claim and the pixels disagree; None where they do not.

        Args:
            named: Whom the pixels speak for: a source, a family, or "generated"; empty where they
                speak for nobody.
            title: The same in words.
        """
        for claim in self.claims if named else ():
            if claim.signature is Signature.BROKEN:
                continue
            if claim.kind is ClaimKind.CAPTURED:
                return f"the file declares a camera's picture, its pixels speak for {title}"
            if claim.kind is ClaimKind.GENERATED and set(named) <= set(claim.excludes):
                return f"the file declares {claim.generator}, its pixels speak for {title}"
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return the origin as JSON values."""
        return {
            "statement": self.statement,
            "claims": [one.to_dict() for one in self.claims],
            "notes": list(self.notes),
        }
