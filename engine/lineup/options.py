"""What is asked of an image: which evidence, how resyntheses are made, when they are left out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Annotated, Any, Literal

from msgspec import Meta

from lineup.errors import UsageError, did_you_mean
from lineup.results import EVIDENCE_NAMES

FINAL_LAYER: Literal["final"] = "final"
"""Names the projected embedding that ends an encoder."""

DEFAULT_STOP_MARGIN = 0.9
"""Probability by which the first answer is ahead of the second when an image is decided."""

DEFAULT_FLOOR = 0.01
"""Posterior below which a candidate is no longer plausible."""

MOST_GAMMA = 1000
"""All resyntheses of a query are in memory at once."""

EncoderLayer = Annotated[int, Meta(ge=1)] | Literal["final"] | None
"""A block, counted from 1; `FINAL_LAYER`; or None for the encoder's default."""


class Distance(str, Enum):
    """What two images are compared by."""

    EUCLIDEAN = "euclidean"
    MANHATTAN = "manhattan"
    COSINE = "cosine"
    CORRELATION = "correlation"
    SSIM = "ssim"
    """Structural similarity of the pixels; no features are needed."""

    HYBRID = "hybrid"
    """Mean of the cosine and of the structural similarity."""

    @property
    def needs_features(self) -> bool:
        """Whether image features are compared."""
        return self is not Distance.SSIM

    @property
    def needs_pixels(self) -> bool:
        """Whether pixels are compared."""
        return self in (Distance.SSIM, Distance.HYBRID)


class Aggregate(str, Enum):
    """How the closenesses to several resyntheses become one score."""

    MAX = "max"
    MEAN = "mean"


class Mode(str, Enum):
    """Whose procedure is followed."""

    DEFAULT = "default"
    """Middle layer, nearest resynthesis, fingerprints, calibrated fusion."""

    RESYNTHESIS = "resynthesis"
    """arXiv 2510.24278: one resynthesis, final embedding, nearest candidate, softmax(-distance)."""

    REGENERATION = "regeneration"
    """arXiv 2403.01489: gamma resyntheses, mean cosine of final embeddings ("CosCLIP")."""


@dataclass(frozen=True, slots=True)
class ResynthesisOptions:
    """How a query is compared with what its candidates make of its caption.

    Attributes:
        gamma: Resyntheses per candidate, 1 to `MOST_GAMMA`.
        seed: Of the first resynthesis; the k-th takes `seed + k`. At least 0.
        encoder_layer: Layer whose features are compared.
        distance: What images are compared by.
        aggregate: How the resyntheses of a candidate become one score.
        prompt: The query's true prompt where it is known; no captioner runs.
        mode: Whose procedure is followed; use `options_from_mode`, which sets the rest.

    Raises:
        UsageError: A number is out of its range.
    """

    gamma: Annotated[int, Meta(ge=1, le=MOST_GAMMA)] = 4
    seed: Annotated[int, Meta(ge=0)] = 0
    encoder_layer: EncoderLayer = None
    distance: Distance = Distance.COSINE
    aggregate: Aggregate = Aggregate.MAX
    prompt: str | None = None
    mode: Mode = Mode.DEFAULT

    def __post_init__(self) -> None:
        if not 1 <= self.gamma <= MOST_GAMMA:
            raise UsageError(f"gamma is {self.gamma}, expected 1 to {MOST_GAMMA}.")
        if self.seed < 0:
            raise UsageError(f"seed is {self.seed}, expected at least 0.")
        layer = self.encoder_layer
        if isinstance(layer, str) and layer != FINAL_LAYER:
            raise UsageError(
                f"The encoder layer is {layer!r}, expected a number or {FINAL_LAYER!r}."
            )

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seed of each resynthesis."""
        return tuple(range(self.seed, self.seed + self.gamma))


@dataclass(frozen=True, slots=True)
class CascadeOptions:
    """When evidence is left out.

    Attributes:
        stop_margin: An image is decided when its first answer (a candidate, or none of them) is
            ahead of the second by this, above 0 and at most 1; None lets every candidate
            resynthesise.
        floor: A candidate whose posterior is lower does not resynthesise, 0..1.
        latency_budget_s: Seconds per image, loading of models left out: evidence that is expected
            to exceed it is not computed; None is no limit.

    Raises:
        UsageError: A number is out of its range.
    """

    stop_margin: float | None = DEFAULT_STOP_MARGIN
    floor: float = DEFAULT_FLOOR
    latency_budget_s: float | None = None

    def __post_init__(self) -> None:
        margin, budget = self.stop_margin, self.latency_budget_s
        if margin is not None and not 0 < margin <= 1:
            raise UsageError(f"The stop margin is {margin:g}, expected above 0 and at most 1.")
        if not 0 <= self.floor <= 1:
            raise UsageError(f"The floor is {self.floor:g}, expected 0 to 1.")
        if budget is not None and not 0 < budget < math.inf:
            raise UsageError(f"The latency budget is {budget:g} s, expected above 0.")


@dataclass(frozen=True, slots=True)
class AttributionOptions:
    """What a verdict rests on.

    Attributes:
        evidence: Some of `EVIDENCE_NAMES`; None takes all that the engine has: the gallery's
            fingerprint, and the resyntheses of a lineup that was named.
        resynthesis: How resyntheses are made; None takes the lineup's defaults.
        cascade: When resynthesis is left out after the fingerprint; None never leaves it out. It
            has no say where no fingerprint is asked for.
        origin: Whether what files declare of their origin is read and stands beside the verdict,
            which does not depend on it.

    Raises:
        UsageError: An evidence does not exist, or none is named.
    """

    evidence: tuple[str, ...] | None = None
    resynthesis: ResynthesisOptions | None = None
    cascade: CascadeOptions | None = None
    origin: bool = True

    def __post_init__(self) -> None:
        unknown = [name for name in self.evidence or () if name not in EVIDENCE_NAMES]
        if unknown or self.evidence == ():
            raise UsageError(
                f"There is no evidence {', '.join(map(repr, unknown)) or 'named'}.",
                hint=did_you_mean("".join(unknown[:1]), EVIDENCE_NAMES)
                or f"Choose some of: {', '.join(EVIDENCE_NAMES)}.",
            )


DEFAULT_OPTIONS = AttributionOptions()


_PROCEDURES: Mapping[Mode, tuple[Mapping[str, Any], tuple[Distance, ...]]] = {
    # Which of the four distances the headline used is not published; on unit vectors the first
    # two candidates for it, euclidean and cosine, rank alike.
    Mode.RESYNTHESIS: (
        {"gamma": 1, "encoder_layer": FINAL_LAYER, "aggregate": Aggregate.MAX},
        (Distance.EUCLIDEAN, Distance.MANHATTAN, Distance.COSINE, Distance.CORRELATION),
    ),
    Mode.REGENERATION: (
        {"encoder_layer": FINAL_LAYER, "aggregate": Aggregate.MEAN},
        (Distance.COSINE, Distance.SSIM, Distance.HYBRID),
    ),
}
"""What a paper fixes, and the distances that it leaves to choose, its preset first."""


def options_from_mode(
    mode: Mode, defaults: ResynthesisOptions, changes: Mapping[str, Any]
) -> ResynthesisOptions:
    """Return the options of a procedure.

    Args:
        mode: Whose procedure.
        defaults: What holds where neither the procedure nor the user says anything.
        changes: What the user asked for: fields of `ResynthesisOptions` and their values.

    Raises:
        UsageError: The user asked for what the procedure does not do, or a value is out of range.
    """
    if mode not in _PROCEDURES:
        return replace(defaults, **{**changes, "mode": mode})
    fixed, distances = _PROCEDURES[mode]
    for name, value in fixed.items():
        if changes.get(name, value) != value:
            raise UsageError(
                f"{mode.value} has {name} {_text(value)}, not {_text(changes[name])}.",
                hint="Leave it out, or use the default mode.",
            )
    distance = changes.get("distance", distances[0])
    if distance not in distances:
        known = ", ".join(one.value for one in distances)
        raise UsageError(
            f"{mode.value} does not use the distance {distance.value}.",
            hint=f"It is published with: {known}.",
        )
    return replace(defaults, **{**changes, **fixed, "distance": distance, "mode": mode})


def _text(value: object) -> str:
    return str(value.value if isinstance(value, Enum) else value)
