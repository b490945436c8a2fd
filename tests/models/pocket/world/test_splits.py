from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from lineup.errors import UsageError
from lineup_models.pocket.world.splits import (
    FIRST_SEEDS,
    SPLIT_SIZE,
    Split,
    batches,
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


def test_versions_of_the_caption_count_round() -> None:
    example = example_from_index(Split.VALIDATION, 0, 64)

    assert example.caption(0) == example.captions[0]
    assert example.caption(len(example.captions) + 1) == example.captions[1]


def test_batches_cover_a_range_in_order() -> None:
    parts = list(batches(Split.TRAINING, range(2, 7), batch=2, size_px=64))

    assert [pixels.shape for pixels, _ in parts] == [(2, 64, 64, 3), (2, 64, 64, 3), (1, 64, 64, 3)]
    captions = [caption for _, batch in parts for caption in batch]
    assert captions == [example_from_index(Split.TRAINING, i, 64).captions[0] for i in range(2, 7)]
