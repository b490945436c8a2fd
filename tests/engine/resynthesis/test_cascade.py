"""When resynthesis is left out, for whom, and what the verdict says then."""

import pytest

from lineup.errors import UsageError
from lineup.options import CascadeOptions
from lineup.resynthesis.cascade import (
    Step,
    margin_from_posterior,
    step_from_posterior,
    step_within_budget,
)

NAMES = ("ash", "birch", "cedar")


def posterior(ash, birch=0.0, cedar=0.0, generated=0.0):
    found = {"ash": ash, "birch": birch, "cedar": cedar, "generated": generated}
    return {**found, "photograph": 1 - sum(found.values())}


def test_generated_and_photograph_are_one_answer():
    assert margin_from_posterior(posterior(0.7, 0.1)) == pytest.approx(0.5)
    assert margin_from_posterior(posterior(0.1, generated=0.45)) == pytest.approx(0.8)
    assert margin_from_posterior({"generated": 0.5, "photograph": 0.5}) == 1


@pytest.mark.parametrize(("ash", "skipped"), [(0.96, True), (0.94, False)])
def test_a_decided_image_is_not_redrawn(ash, skipped):
    step = step_from_posterior(posterior(ash), NAMES, CascadeOptions(stop_margin=0.9))

    assert (step.candidates == ()) is skipped
    assert ("decided by the fingerprint" in " ".join(step.notes)) is skipped


def test_implausible_candidates_do_not_redraw_and_are_named():
    step = step_from_posterior(posterior(0.5, 0.3, 0.005), NAMES, CascadeOptions())

    assert step.candidates == ("ash", "birch")
    assert "cedar" in step.notes[0]


def test_a_lone_plausible_candidate_keeps_the_next_for_company():
    step = step_from_posterior(posterior(0.5, 0.001, 0.002), NAMES, CascadeOptions())

    assert step.candidates == ("ash", "cedar")


def test_siblings_alone_take_a_stranger_for_company():
    families = {"ash": "fern", "birch": "fern", "cedar": "moss"}

    step = step_from_posterior(posterior(0.5, 0.3, 0.001), NAMES, CascadeOptions(), families)

    assert step.candidates == NAMES


def test_when_no_candidate_is_plausible_nobody_redraws():
    step = step_from_posterior(posterior(0.4), NAMES, CascadeOptions(floor=0.5))

    assert step.candidates == ()
    assert "reaches 0.5" in step.notes[0]


def test_without_a_margin_everybody_redraws():
    options = CascadeOptions(stop_margin=None, latency_budget_s=1.0)

    assert step_from_posterior(posterior(1.0), NAMES, options) == Step(NAMES)


@pytest.mark.parametrize(("expected_ms", "runs"), [(None, True), (900, True), (901, False)])
def test_a_step_beyond_the_budget_is_left_out(expected_ms, runs):
    options = CascadeOptions(stop_margin=None, latency_budget_s=1.0)

    step = step_within_budget(Step(NAMES), options, spent_ms=100, expected_ms=expected_ms)

    assert (step.candidates == NAMES) is runs
    if not runs:
        assert "100 ms spent and 901 ms expected" in step.notes[0]


@pytest.mark.parametrize(
    "wrong", [{"stop_margin": 0}, {"stop_margin": 1.1}, {"floor": -0.1}, {"latency_budget_s": 0}]
)
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(UsageError, match="expected"):
        CascadeOptions(**wrong)
