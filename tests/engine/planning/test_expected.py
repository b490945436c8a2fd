import pytest

from lineup.planning.expected import ExpectedTimes, PlannedTimes
from lineup.trace import (
    CAPTION,
    ENCODE,
    GENERATE,
    LOAD,
    TEXT,
    GraphCost,
    ResynthesisCost,
    StageCost,
)

PLANNED = PlannedTimes(caption_ms=100, picture_ms={"small": 10, "large": 40}, look_ms=1)


def spent(*, cached=0, pictures_s=0.1, loading_s=0.0):
    """Two pictures each of "small" and "large": as planned 100 ms."""
    stages = (
        StageCost(CAPTION, 1, 1, 0, 0.3),
        StageCost(TEXT, 1, 1, 0, 0.0),
        StageCost(GENERATE, 2, 4 - cached, cached, pictures_s + loading_s),
        StageCost(ENCODE, 1, 5, 0, 0.01),
    )
    return ResynthesisCost(stages, (GraphCost(LOAD, 1, loading_s),), 1.0)


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

    times.learn(spent(pictures_s=0.3), ["small", "large"], 2)

    assert times.expected_ms(["large"], 1) == pytest.approx(300 + 3 * 40 + 2 * 2)


def test_loading_is_not_expected_again():
    times = ExpectedTimes(PLANNED)

    times.learn(spent(loading_s=50.0), ["small", "large"], 2)

    assert times.expected_ms(["large"], 1) == pytest.approx(300 + 40 + 2 * 2)


def test_cached_pictures_are_no_measure():
    times = ExpectedTimes(PLANNED)

    times.learn(spent(cached=2, pictures_s=9.0), ["small", "large"], 2)

    assert times.expected_ms(["large"], 1) == pytest.approx(300 + 40 + 2 * 2)
