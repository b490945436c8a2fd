import pytest

from lineup.resynthesis.cascade import ExpectedTimes, PlannedTimes
from lineup.trace import CAPTION, ENCODE, GENERATE, LOAD, TEXT, Cost, Trace

PLANNED = PlannedTimes(caption_ms=100, resynthesis_ms={"small": 10, "large": 40}, look_ms=1)


def spent(*, cached=0, made_s=0.1, loading_s=0.0):
    """Two resyntheses each of "small" and "large": as planned 100 ms."""
    trace = Trace()
    trace.stages = {
        CAPTION: Cost(1, 1, 0, 0.3),
        TEXT: Cost(1, 1),
        GENERATE: Cost(2, 4 - cached, cached, made_s + loading_s),
        ENCODE: Cost(1, 5, 0, 0.01),
    }
    trace.graphs = {LOAD: Cost(1, seconds=loading_s)}
    return trace


def test_before_anything_is_measured_the_bundles_are_believed():
    times = ExpectedTimes(PLANNED)

    assert times.expected_ms(["small", "large"], 2) == pytest.approx(100 + 2 * 50 + 5 * 1)
    assert times.expected_ms(["small"], 1) == pytest.approx(100 + 10 + 2)


def test_without_figures_nothing_is_expected_until_it_was_measured():
    times = ExpectedTimes()
    assert times.expected_ms(["small"], 1) is None

    times.learn(spent(), ["small", "large"], 2)

    assert times.expected_ms(["small"], 1) == pytest.approx(300 + 25 + 2 * 2)


def test_what_is_measured_scales_what_was_planned():
    times = ExpectedTimes(PLANNED)

    times.learn(spent(made_s=0.3), ["small", "large"], 2)

    assert times.expected_ms(["large"], 1) == pytest.approx(300 + 3 * 40 + 2 * 2)


def test_loading_is_not_expected_again():
    times = ExpectedTimes(PLANNED)

    times.learn(spent(loading_s=50.0), ["small", "large"], 2)

    assert times.expected_ms(["large"], 1) == pytest.approx(300 + 40 + 2 * 2)


def test_cached_resyntheses_are_no_measure():
    times = ExpectedTimes(PLANNED)

    times.learn(spent(cached=2, made_s=9.0), ["small", "large"], 2)

    assert times.expected_ms(["large"], 1) == pytest.approx(300 + 40 + 2 * 2)
