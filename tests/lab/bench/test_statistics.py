import pytest

from lineup.errors import UsageError
from lineup_lab.bench.harness import summary_from_ms
from lineup_lab.bench.record import STEADY_VARIATION


def test_percentiles_of_a_hundred_and_one_runs():
    summary = summary_from_ms([float(value) for value in range(101)])
    assert [summary[key] for key in ("min", "median", "p90", "p95", "p99")] == [
        0.0, 50.0, 90.0, 95.0, 99.0,
    ]  # fmt: skip
    assert summary["mean"] == 50.0
    assert summary["count"] == 101


def test_equal_runs_are_steady_and_scattered_ones_are_not():
    assert summary_from_ms([5.0, 5.0, 5.0])["cv"] == 0.0
    assert summary_from_ms([5.0, 9.0, 5.0])["cv"] > STEADY_VARIATION


def test_a_single_run_has_no_variation():
    assert summary_from_ms([5.0])["cv"] == 0.0


def test_nothing_measured_is_an_error():
    with pytest.raises(UsageError, match="Nothing was measured"):
        summary_from_ms([])
