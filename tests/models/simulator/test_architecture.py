from __future__ import annotations

from collections import Counter

import pytest
from simulated_ids import architecture_from_id

from lineup_models.simulator.architecture import (
    EXTENDED,
    PUBLISHED,
    SPACES,
    Activation,
    Cell,
    Level,
    Norm,
    Operation,
    SearchSpace,
    Upsampler,
    architecture_from_seed,
)

KNOWN_DRAWS = {
    ("published", 0): "3-ne2.nacgi-ps2.ncasb.ncagi-bl2.naclg",
    ("published", 1): "2-bc2.ancgi.cangb-bc2.ancgg.cnali",
    ("extended", 2): "3-bn4.ancsb.ncali-bn2.cangb",
    ("extended", 29): "1-bc2.ncasi.cnagi",
}
"""Ids that fingerprints of trained extractors depend on: a change here breaks reproducibility."""


@pytest.mark.parametrize(("draw", "expected"), KNOWN_DRAWS.items())
def test_a_seed_always_gives_the_same_architecture(draw: tuple[str, int], expected: str) -> None:
    name, seed = draw
    assert architecture_from_seed(seed, SPACES[name]).id == expected


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_ids_lead_back_to_the_architecture(space: SearchSpace) -> None:
    for seed in range(300):
        architecture = architecture_from_seed([7, seed], space)
        assert architecture_from_id(architecture.id) == architecture


def test_id_spells_the_architecture_out() -> None:
    architecture = architecture_from_id("3-ps4.cansb-ne2.ancgi.naclg")
    convolution, activation, norm = Operation.CONVOLUTION, Operation.ACTIVATION, Operation.NORM
    assert architecture.levels == (
        Level(
            Upsampler.PIXEL_SHUFFLE,
            4,
            (Cell((convolution, activation, norm), Activation.SILU, Norm.BATCH),),
        ),
        Level(
            Upsampler.NEAREST,
            2,
            (
                Cell((activation, norm, convolution), Activation.GELU, Norm.INSTANCE),
                Cell((norm, activation, convolution), Activation.LEAKY_RELU, Norm.GROUP),
            ),
        ),
    )


def test_published_draws_use_every_choice_about_equally() -> None:
    draws = [architecture_from_seed([3, seed], PUBLISHED) for seed in range(3000)]
    starts = Counter(draw.start_scale for draw in draws)
    levels = [level for draw in draws for level in draw.levels]
    cells = [cell for level in levels for cell in level.cells]
    for counts, choices in (
        (starts, 3),
        (Counter(level.upsampler for level in levels), 4),
        (Counter(len(level.cells) for level in levels), 2),
        (Counter(cell.order for cell in cells), 6),
        (Counter(cell.activation for cell in cells), 3),
        (Counter(cell.norm for cell in cells), 3),
    ):
        assert len(counts) == choices
        assert min(counts.values()) > 0.85 * sum(counts.values()) / choices


def test_extended_draws_reach_every_upsampler_and_factor() -> None:
    levels = [
        level for seed in range(500) for level in architecture_from_seed(seed, EXTENDED).levels
    ]
    assert {level.upsampler for level in levels} == set(Upsampler)
    assert {level.factor for level in levels} == {2, 4, 8}
