from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from lineup.errors import UsageError
from lineup_models.pocket.world.splits import (
    FIRST_SEEDS,
    SPLIT_SIZE,
    Split,
    example_from_index,
    seed_from_index,
)


def test_splits_share_no_seed() -> None:
    ranges = sorted((first, first + SPLIT_SIZE) for first in FIRST_SEEDS.values())

    assert len(ranges) == len(Split)
    assert all(end <= start for (_, end), (start, _) in pairwise(ranges))


@pytest.mark.parametrize("index", [-1, SPLIT_SIZE])
def test_an_index_outside_of_the_split_is_refused(index: int) -> None:
    with pytest.raises(UsageError, match="indices of a split"):
        seed_from_index(Split.TRAINING, index)


def test_examples_are_reproducible_and_differ_between_splits() -> None:
    first, again = (example_from_index(Split.TEST, 3, 64) for _ in range(2))

    np.testing.assert_array_equal(first.pixels, again.pixels)
    assert first.captions == first.scene.captions()
    assert first.scene != example_from_index(Split.TRAINING, 3, 64).scene
