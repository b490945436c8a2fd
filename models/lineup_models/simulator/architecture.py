"""The space of decoder architectures, and the drawing of one from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

import numpy as np

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


Choice = TypeVar("Choice")


@dataclass(frozen=True, slots=True)
class Cell:
    """A VariStruct cell.

    Attributes:
        order: Its three operations, first to last.
        activation: What the activation is.
        norm: What the normalisation is.
    """

    order: tuple[Operation, Operation, Operation]
    activation: Activation
    norm: Norm


@dataclass(frozen=True, slots=True)
class Level:
    """A decoding level: an upsampler, then its cells.

    Attributes:
        upsampler: How it enlarges.
        factor: By how much: 2, 4 or 8.
        cells: At least one.
    """

    upsampler: Upsampler
    factor: int
    cells: tuple[Cell, ...]

    @property
    def doublings(self) -> int:
        """How many scales the level climbs: log2 of the factor."""
        return self.factor.bit_length() - 1


@dataclass(frozen=True, slots=True)
class Architecture:
    """A decoder: where it starts and what it does at each level.

    Attributes:
        start_scale: The decoder reads the features of 1 / 2^start_scale resolution.
        levels: Coarsest first; the factors multiply to 2^start_scale.
    """

    start_scale: int
    levels: tuple[Level, ...]

    @property
    def id(self) -> str:
        """Return the id, e.g. "2-ne2.cangb-ps2.ancsi.naclg"; equal draws have equal ids."""
        return "-".join((str(self.start_scale), *map(_text_from_level, self.levels)))


def _text_from_level(level: Level) -> str:
    cells = "".join(
        f".{''.join(cell.order)}{cell.activation.value}{cell.norm.value}" for cell in level.cells
    )
    return f"{level.upsampler.value}{level.factor}{cells}"


class _Draw:
    """Choices from a PCG64 stream.

    Only the raw 64-bit words are used: NumPy keeps those the same over versions and platforms,
    which it does not promise for the methods of its generators.
    """

    def __init__(self, seed: int | Sequence[int]) -> None:
        self.stream = np.random.PCG64(np.random.SeedSequence(seed))

    def below(self, bound: int) -> int:
        return int(self.stream.random_raw()) % bound

    def one_of(self, choices: Sequence[Choice]) -> Choice:
        return choices[self.below(len(choices))]

    def shuffled(self, items: Sequence[Choice]) -> list[Choice]:
        left = list(items)
        return [left.pop(self.below(len(left))) for _ in range(len(left))]


def architecture_from_seed(seed: int | Sequence[int], space: SearchSpace) -> Architecture:
    """Draw an architecture; the same seed and space give the same one everywhere.

    Start scale, upsampler, number of cells and the pools of a cell are drawn uniformly. So is a
    level's factor among those that fit, except that half of the levels keep factor 2.

    Args:
        seed: Non-negative, or several (a run's seed and a counter, say).
        space: What to draw from.
    """
    draw = _Draw(seed)
    start_scale = 1 + draw.below(space.levels)
    levels: list[Level] = []
    remaining = start_scale
    while remaining:
        level = _draw_level(draw, space, remaining)
        levels.append(level)
        remaining -= level.doublings
    return Architecture(start_scale, tuple(levels))


def _draw_level(draw: _Draw, space: SearchSpace, remaining: int) -> Level:
    factors = [factor for factor in space.factors if factor <= 1 << remaining]
    factor = factors[0] if len(factors) == 1 or draw.below(2) else draw.one_of(factors)
    upsampler = draw.one_of(space.upsamplers)
    cells = tuple(_draw_cell(draw, space) for _ in range(1 + draw.below(space.cells_max)))
    return Level(upsampler, factor, cells)


def _draw_cell(draw: _Draw, space: SearchSpace) -> Cell:
    first, second, third = draw.shuffled(tuple(Operation))
    return Cell((first, second, third), draw.one_of(space.activations), draw.one_of(space.norms))
