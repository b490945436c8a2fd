import pytest

from lineup.errors import UsageError
from lineup.machine import usable_cores
from lineup.stream import StreamOptions


def test_defaults_keep_every_worker_busy_and_fill_the_next_batch():
    options = StreamOptions()

    assert options.worker_count == min(4, usable_cores())
    assert options.look_ahead_limit == options.group_images + 2 * options.worker_count


def test_given_numbers_win():
    options = StreamOptions(workers=7, look_ahead_images=3)

    assert (options.worker_count, options.look_ahead_limit) == (7, 3)


@pytest.mark.parametrize(
    "name",
    [
        "group_images",
        "group_tiles",
        "group_bytes",
        "workers",
        "look_ahead_images",
        "look_ahead_bytes",
    ],
)
def test_numbers_below_one_are_refused(name):
    with pytest.raises(UsageError, match=f"{name} is 0"):
        StreamOptions(**{name: 0})
