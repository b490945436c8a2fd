"""What stands beside verdicts, in words: how they come about, and how often they are wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated

from msgspec import Meta

from lineup.calibration.calibration import Calibration, Options
from lineup.documents import DocumentFormat
from lineup.errors import LineupError
from lineup.paths import shipped_dir
from lineup.results import FINGERPRINT, PHOTOGRAPH, REFERENCE, RESYNTHESIS, RESYNTHESIS_FINGERPRINT

Percent = Annotated[float, Meta(ge=0, le=100)]
Count = Annotated[int, Meta(ge=1)]

METHODS = {
    FINGERPRINT: "fingerprint: what a generator's decoder leaves in the spectrum of the residual "
    "noise and in the texture of neighbouring pixels, compared with images of every source in the "
    "gallery, and with photographs.",
    REFERENCE: "reference: what middle layers of CLIP say of it, compared with the same images.",
    RESYNTHESIS: "resynthesis: candidates made images of the query's caption, whose embeddings "
    "were compared with the query's.",
    RESYNTHESIS_FINGERPRINT: "resynthesis-fingerprint: the fingerprints of those images, compared "
    "with the query's.",
    PHOTOGRAPH: "photograph: how much likelier a photograph is than a generated image; it names "
    "nobody.",
}
"""One sentence an evidence."""

LIMITS = (
    "A verdict compares with the sources that are known. An image of any other generator may be "
    "given the name of a known one; the error rates say how often that was measured.",
    "Resizing, compression, blur and cropping weaken every evidence. Plain colours, charts, pages "
    "of text and small images give none.",
    "Finding nothing is no proof of a photograph.",
    "What a file declares of its origin is told beside the verdict and never enters it. Whatever "
    "is not signed can be written by anybody, and left out by anybody.",
    "A probability is as good as the sources it was calibrated on. No verdict is proof by itself.",
)


@dataclass(frozen=True, slots=True)
class Rate:
    """A share in percent, and its 95 % interval."""

    percent: Percent
    low: Percent
    high: Percent

    def __str__(self) -> str:
        return f"{self.percent:g} % ({self.low:g} to {self.high:g})"


@dataclass(frozen=True, slots=True)
class Rates:
    """What was measured by one set of evidence."""

    enrolled_right: Rate
    enrolled_wrong: Rate
    unknown_named: Rate
    photographs_named: Rate
    photographs_generated: Rate


@dataclass(frozen=True, slots=True)
class Images:
    """How many images rates were measured on."""

    enrolled: Count
    unknown: Count
    photographs: Count


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """The shipped document; `command` measured it on `sources` generators and `images`."""

    command: str
    sources: Count
    images: Images
    fingerprint: Rates
    reference: Rates


_FORMAT = DocumentFormat(ErrorRates, LineupError, "Install lineup again.", syntax="toml")


@cache
def error_rates() -> ErrorRates:
    """Return what was measured of the shipped gallery."""
    return _FORMAT.read(shipped_dir() / "error_rates.toml")


def method(evidence: Iterable[str]) -> list[str]:
    """Return how verdicts come about, a sentence each: what was compared, and the prior."""
    asked = set(evidence)
    return [
        *(text for name, text in METHODS.items() if name in asked),
        "Every evidence gives a log likelihood ratio (LLR, natural) per source; they add up to the "
        "posterior, from a prior of one half for the known sources together, a quarter for another "
        "generator and a quarter for a photograph.",
    ]


def rates_in_words(evidence: Iterable[str]) -> list[str]:
    """Return the error rates that were measured of verdicts by such evidence, a sentence each."""
    asked = set(evidence)
    if {RESYNTHESIS, RESYNTHESIS_FINGERPRINT} & asked:
        return [
            "Error rates with resyntheses depend on the lineup and are told by its calibration."
        ]
    rates, found = error_rates(), error_rates().images
    by = "reference and fingerprint" if REFERENCE in asked else "fingerprint alone"
    one = rates.reference if REFERENCE in asked else rates.fingerprint
    return [
        f"Measured by {by} on {rates.sources} real generators and {found.photographs} photographs, "
        "every image once compressed, resized or otherwise handled "
        f"({rates.command}); 95 % intervals in brackets.",
        f"Of {found.enrolled} images of known sources, {one.enrolled_right} were named rightly and "
        f"{one.enrolled_wrong} wrongly; the others got no name.",
        f"Of {found.unknown} images of sources that were not known, {one.unknown_named} were given "
        "the name of another source.",
        f"Of {found.photographs} photographs, {one.photographs_named} were given a name, and "
        f"{one.photographs_generated} were called generated.",
    ]


def calibrated_rates(
    evidence: Iterable[str], calibration: Calibration, options: Mapping[str, Options]
) -> list[str]:
    """Return what a lineup's calibration measured of its own verdicts, a sentence each.

    Args:
        evidence: What the verdict rests on.
        calibration: Of the lineup.
        options: What each evidence was computed with.
    """
    lines = [
        f"The calibration of the lineup {calibration.lineup} was fitted on {calibration.created} "
        f"with {sum(calibration.counts.values())} images, and judged on folds that it was not "
        "fitted on.",
        f"Its conformal set is meant to hold the true answer for {100 * calibration.level:g} % of "
        "images like those.",
    ]
    asked, variant = {*evidence, PHOTOGRAPH}, calibration.variant(options)
    used = [
        one
        for one in (() if variant is None else variant.sets)
        if one.evidences <= asked and one.evidences != {PHOTOGRAPH}
    ]
    best = max(used, key=lambda one: len(one.evidences), default=None)
    accuracy = None if best is None else best.figures.get("accuracy")
    if accuracy is not None:
        lines.append(
            f"By this evidence the right candidate was the likeliest for {accuracy:.1f} % of the "
            "candidates' images."
        )
    return lines
