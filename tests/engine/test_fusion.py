import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineup.fusion import prior_from_candidates, verdict_from_evidence
from lineup.results import REAL, UNKNOWN, Evidence

NAMES = ("a", "b")


def evidence(name="fingerprint", **llr):
    return Evidence(name=name, scores={}, llr=llr, cost_ms=1.0)


def test_prior_gives_each_origin_a_third():
    prior = prior_from_candidates(NAMES)

    assert prior == {"a": 1 / 6, "b": 1 / 6, UNKNOWN: 1 / 3, REAL: 1 / 3}
    assert prior_from_candidates(()) == {UNKNOWN: 0.5, REAL: 0.5}


def test_posterior_is_bayes_rule():
    verdict = verdict_from_evidence(NAMES, [evidence(a=math.log(10), b=math.log(0.5))])

    total = 10 / 6 + 0.5 / 6 + 1 / 3 + 1 / 3
    assert verdict.posterior["a"] == pytest.approx(10 / 6 / total)
    assert verdict.posterior["b"] == pytest.approx(0.5 / 6 / total)
    assert verdict.label == "a"
    assert verdict.confidence == verdict.posterior["a"]


def test_evidence_adds_and_missing_evidence_is_neutral():
    once = verdict_from_evidence(NAMES, [evidence(a=3.0)])
    twice = verdict_from_evidence(NAMES, [evidence(a=1.0), evidence("reference", a=2.0)])
    with_silent = verdict_from_evidence(NAMES, [evidence(a=3.0), evidence("silent")])

    assert twice.posterior == pytest.approx(once.posterior)
    assert with_silent.posterior == once.posterior


def test_nothing_known_is_unknown_and_never_real():
    assert verdict_from_evidence(NAMES, [evidence(a=-5.0, b=-5.0)]).label == UNKNOWN
    assert verdict_from_evidence((), []).label == UNKNOWN


def test_a_candidate_has_to_outweigh_both_ways_of_being_none():
    leaning = verdict_from_evidence(("a",), [evidence(a=math.log(1.5))])
    convincing = verdict_from_evidence(("a",), [evidence(a=math.log(2.5))])

    assert leaning.posterior["a"] > leaning.posterior[UNKNOWN]
    assert leaning.label == UNKNOWN
    assert convincing.label == "a"


def test_evidence_may_speak_for_a_photograph():
    verdict = verdict_from_evidence(NAMES, [evidence(a=-5.0, b=-5.0, real=2.0)])

    assert verdict.label == REAL


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=2))
def test_posterior_sums_to_one(values):
    verdict = verdict_from_evidence(NAMES, [evidence(**dict(zip(NAMES, values, strict=True)))])

    assert sum(verdict.posterior.values()) == pytest.approx(1)
