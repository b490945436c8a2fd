"""What the decoder's architecture is drawn from, and how many architectures there are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

LEVELS = 3
"""Scales of the encoder: the features of level i have 1 / 2^i of the image's resolution."""


class Upsampler(str, Enum):
    """How a level enlarges its input; the value is the code in architecture ids."""

    BILINEAR = "bl"
    NEAREST = "ne"
    BICUBIC = "bc"
    PIXEL_SHUFFLE = "ps"
    TRANSPOSED = "tc"
    """Transposed convolution, kernel twice the stride."""
    BLURRED_NEAREST = "bn"
    """Repetition, then a binomial filter against the images of the spectrum."""
    ZERO_INSERTION = "zi"
    """Zeros between the samples, then a triangle filter: samples stay, gaps are averages."""
    KAISER_SINC = "ks"
    """Zeros between the samples, then a windowed sinc, as alias-free generators do."""


class Activation(str, Enum):
    """Activation pool of a cell; the value is the code in architecture ids."""

    GELU = "g"
    SILU = "s"
    LEAKY_RELU = "l"


class Norm(str, Enum):
    """Normalisation pool of a cell; the value is the code in architecture ids."""

    BATCH = "b"
    INSTANCE = "i"
    GROUP = "g"


class Operation(str, Enum):
    """The three operations of a cell; the value is the code in architecture ids."""

    CONVOLUTION = "c"
    ACTIVATION = "a"
    NORM = "n"


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """The choices of a decoder.

    Attributes:
        name: How options and records call it.
        upsamplers: Ways to enlarge.
        factors: Enlargement factors of one level, powers of two; a level of factor 4 or 8 takes
            the place of two or three levels of factor 2.
        activations: Activation pool.
        norms: Normalisation pool.
        cells_max: Most cells of a level.
        levels: Coarsest start scale.
    """

    name: str
    upsamplers: tuple[Upsampler, ...]
    factors: tuple[int, ...] = (2,)
    activations: tuple[Activation, ...] = tuple(Activation)
    norms: tuple[Norm, ...] = tuple(Norm)
    cells_max: int = 2
    levels: int = LEVELS


PUBLISHED = SearchSpace(
    name="published",
    upsamplers=(
        Upsampler.BILINEAR,
        Upsampler.NEAREST,
        Upsampler.BICUBIC,
        Upsampler.PIXEL_SHUFFLE,
    ),
)
"""The space of the One-for-All paper."""

EXTENDED = SearchSpace(name="extended", upsamplers=tuple(Upsampler), factors=(2, 4, 8))
"""With the upsamplers of other generator families, and tails that enlarge by 4 or 8 at once."""

SPACES = {space.name: space for space in (PUBLISHED, EXTENDED)}
