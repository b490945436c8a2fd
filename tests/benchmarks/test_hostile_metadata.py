"""The campaign of hostile metadata, in short."""

import pytest

from hostile_metadata import hostile_files, problems_of


def test_the_same_seed_gives_the_same_files():
    assert list(hostile_files(10, seed=3)) == list(hostile_files(10, seed=3))


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_raised_slow_or_raw(seed):
    wrong = {
        name: found for name, data in hostile_files(25, seed) if (found := problems_of(data)[0])
    }

    assert wrong == {}
