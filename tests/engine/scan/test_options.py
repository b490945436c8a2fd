import pytest

from lineup.errors import UsageError
from lineup.scan.options import ScanOptions, default_workers


def test_defaults_keep_every_worker_busy_and_fill_the_next_batch():
    options = ScanOptions()

    assert options.worker_count == default_workers() <= 4
    assert options.look_ahead_limit == options.batch + 2 * options.worker_count


def test_given_numbers_win():
    options = ScanOptions(workers=7, look_ahead_images=3)

    assert (options.worker_count, options.look_ahead_limit) == (7, 3)


@pytest.mark.parametrize(
    "name", ["batch", "max_batch_tiles", "workers", "look_ahead_images", "look_ahead_bytes"]
)
def test_numbers_below_one_are_refused(name):
    with pytest.raises(UsageError, match=f"{name} is 0"):
        ScanOptions(**{name: 0})


@pytest.mark.parametrize("evidence", [("tea-leaves",), ("fingerprint", ""), ()])
def test_unknown_evidence_is_refused_with_the_choices(evidence):
    with pytest.raises(UsageError) as caught:
        ScanOptions(evidence=evidence)
    assert "fingerprint" in caught.value.hint
