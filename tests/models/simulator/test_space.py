from __future__ import annotations

import math
from itertools import permutations, product

import pytest

from lineup_models.simulator.architecture import (
    EXTENDED,
    PUBLISHED,
    Activation,
    Architecture,
    Cell,
    Level,
    Norm,
    Operation,
    SearchSpace,
    Upsampler,
)


def count_architectures(space: SearchSpace) -> int:
    """Return how many different architectures `space` holds, over all start scales.

    A cell is an order of its three operations, an activation and a norm; a level is an upsampler,
    a factor and 1 to `cells_max` cells; a decoder from scale s is any sequence of levels whose
    factors multiply to 2^s.
    """
    cells = math.factorial(len(Operation)) * len(space.activations) * len(space.norms)
    level = len(space.upsamplers) * sum(cells**count for count in range(1, space.cells_max + 1))
    decoders = [1]
    for scale in range(1, space.levels + 1):
        doublings = (factor.bit_length() - 1 for factor in space.factors)
        decoders.append(sum(level * decoders[scale - step] for step in doublings if step <= scale))
    return sum(decoders[1:])


def test_published_space_is_as_large_as_the_paper_says() -> None:
    level = 4 * (54 + 54**2)
    assert level == 11_880
    assert count_architectures(PUBLISHED) == level**3 + level**2 + level
    assert count_architectures(PUBLISHED) >= 1.65e12


def test_extended_space_contains_the_published_one() -> None:
    assert set(PUBLISHED.upsamplers) < set(EXTENDED.upsamplers)
    assert count_architectures(EXTENDED) > count_architectures(PUBLISHED)


def _every_architecture(space: SearchSpace) -> set[Architecture]:
    cells = [
        Cell((first, second, third), activation, norm)
        for first, second, third in permutations(Operation)
        for activation, norm in product(space.activations, space.norms)
    ]
    rows = [row for n in range(1, space.cells_max + 1) for row in product(cells, repeat=n)]
    levels = [Level(*choice) for choice in product(space.upsamplers, space.factors, rows)]
    return {
        Architecture(climbed, chosen)
        for count in range(1, space.levels + 1)
        for chosen in product(levels, repeat=count)
        if (climbed := sum(level.doublings for level in chosen)) <= space.levels
    }


@pytest.mark.parametrize(
    "space",
    [
        SearchSpace(
            name="two norms",
            upsamplers=(Upsampler.NEAREST, Upsampler.PIXEL_SHUFFLE),
            activations=(Activation.SILU,),
            norms=(Norm.BATCH, Norm.GROUP),
            cells_max=1,
            levels=2,
        ),
        SearchSpace(
            name="all factors",
            upsamplers=(Upsampler.NEAREST,),
            factors=(2, 4, 8),
            activations=(Activation.GELU, Activation.SILU),
            norms=(Norm.BATCH,),
            cells_max=1,
        ),
        SearchSpace(
            name="two cells",
            upsamplers=(Upsampler.NEAREST,),
            factors=(2, 4),
            activations=(Activation.GELU,),
            norms=(Norm.BATCH,),
            levels=2,
        ),
    ],
    ids=lambda space: space.name,
)
def test_closed_form_agrees_with_listing_every_architecture(space: SearchSpace) -> None:
    architectures = _every_architecture(space)
    assert count_architectures(space) == len(architectures)
    assert len({architecture.id for architecture in architectures}) == len(architectures)
