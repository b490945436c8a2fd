"""How resyntheses are made and compared: the defaults, and the papers' own settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Annotated, Any, Literal

from msgspec import Meta

from lineup.errors import UsageError

FINAL_LAYER: Literal["final"] = "final"
"""Names the projected embedding that ends an encoder."""

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
        gamma: Resyntheses per candidate, at least 1.
        seed: Of the first resynthesis; the k-th takes `seed + k`. At least 0.
        encoder_layer: Layer whose features are compared.
        distance: What images are compared by.
        aggregate: How the resyntheses of a candidate become one score.
        prompt: The query's true prompt where it is known; no captioner runs.
        mode: Whose procedure is followed; use `options_from_mode`, which sets the rest.

    Raises:
        UsageError: A number is out of its range.
    """

    gamma: Annotated[int, Meta(ge=1)] = 4
    seed: Annotated[int, Meta(ge=0)] = 0
    encoder_layer: EncoderLayer = None
    distance: Distance = Distance.COSINE
    aggregate: Aggregate = Aggregate.MAX
    prompt: str | None = None
    mode: Mode = Mode.DEFAULT

    def __post_init__(self) -> None:
        for name, least in (("gamma", 1), ("seed", 0)):
            value = getattr(self, name)
            if value < least:
                raise UsageError(f"{name} is {value}, expected at least {least}.")
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
class _Procedure:
    """What a paper fixes, presets, and leaves to choose."""

    fixed: Mapping[str, Any]
    preset: Mapping[str, Any]
    distances: tuple[Distance, ...]


_PROCEDURES = {
    # Which of the four distances the headline used is not published; on unit vectors the first
    # two candidates for it, euclidean and cosine, rank alike.
    Mode.RESYNTHESIS: _Procedure(
        fixed={"gamma": 1, "encoder_layer": FINAL_LAYER, "aggregate": Aggregate.MAX},
        preset={"distance": Distance.EUCLIDEAN},
        distances=(
            Distance.EUCLIDEAN,
            Distance.MANHATTAN,
            Distance.COSINE,
            Distance.CORRELATION,
        ),
    ),
    Mode.REGENERATION: _Procedure(
        fixed={"encoder_layer": FINAL_LAYER, "aggregate": Aggregate.MEAN},
        preset={"distance": Distance.COSINE},
        distances=(Distance.COSINE, Distance.SSIM, Distance.HYBRID),
    ),
}


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
    procedure = _PROCEDURES.get(mode)
    if procedure is None:
        return replace(defaults, **{**changes, "mode": mode})
    for name, value in procedure.fixed.items():
        if changes.get(name, value) != value:
            raise UsageError(
                f"{mode.value} has {name} {_text(value)}, not {_text(changes[name])}.",
                hint="Leave it out, or use the default mode.",
            )
    distance = changes.get("distance", procedure.preset["distance"])
    if distance not in procedure.distances:
        known = ", ".join(one.value for one in procedure.distances)
        raise UsageError(
            f"{mode.value} does not use the distance {distance.value}.",
            hint=f"It is published with: {known}.",
        )
    settings = {**procedure.preset, **changes, **procedure.fixed, "mode": mode}
    return replace(defaults, **settings)


def _text(value: object) -> str:
    return str(value.value if isinstance(value, Enum) else value)
