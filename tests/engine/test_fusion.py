import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineup.fusion import (
    BY_FINGERPRINT,
    BY_REFERENCE,
    MOST_FOR_PHOTOGRAPH,
    SINGLED_OUT,
    decisive_group,
    inseparable_members,
    log_posterior_from_ratios,
    none_label,
    prior_from_candidates,
    verdict_from_evidence,
)
from lineup.results import FINGERPRINT, GENERATED, PHOTOGRAPH, REFERENCE, UNDETERMINED, Evidence

NAMES = ("a", "b")


def evidence(name="fingerprint", **llr):
    return Evidence(name=name, scores={}, llr=llr, cost_ms=1.0)


def test_prior_gives_known_sources_a_half_and_the_others_a_quarter_each():
    names = ("a", "b", "c", "d")

    assert prior_from_candidates(names) == {
        **dict.fromkeys(names, 1 / 8),
        GENERATED: 1 / 4,
        PHOTOGRAPH: 1 / 4,
    }
    assert prior_from_candidates(()) == {GENERATED: 0.5, PHOTOGRAPH: 0.5}


def test_a_source_alone_is_no_likelier_than_one_of_three():
    three = prior_from_candidates(("a", "b", "c"))
    for names in (("a",), NAMES):
        prior = prior_from_candidates(names)
        assert prior["a"] == three["a"] == 1 / 6
        assert prior[GENERATED] == prior[PHOTOGRAPH]
        assert sum(prior.values()) == pytest.approx(1)


def test_what_no_ratio_speaks_of_is_as_likely_as_what_a_ratio_of_0_speaks_of():
    logs = log_posterior_from_ratios(NAMES, {"a": 0.0, GENERATED: 0.0, PHOTOGRAPH: 0.0})

    assert logs["b"] == logs["a"] == pytest.approx(math.log(1 / 6))


def test_posterior_is_bayes_rule():
    verdict = verdict_from_evidence(NAMES, [evidence(a=math.log(40), b=math.log(0.5))])

    total = 40 + 0.5 + 2 + 2
    assert verdict.posterior["a"] == pytest.approx(40 / total)
    assert verdict.posterior["b"] == pytest.approx(0.5 / total)
    assert verdict.label == "a"
    assert verdict.confidence == verdict.posterior["a"]


def test_evidence_adds_and_missing_evidence_is_neutral():
    once = verdict_from_evidence(NAMES, [evidence(a=3.0)])
    twice = verdict_from_evidence(NAMES, [evidence(a=1.0), evidence("reference", a=2.0)])
    with_silent = verdict_from_evidence(NAMES, [evidence(a=3.0), evidence("silent")])

    assert twice.posterior == pytest.approx(once.posterior)
    assert with_silent.posterior == once.posterior


def test_nothing_known_is_undetermined():
    for verdict in (
        verdict_from_evidence(NAMES, []),
        verdict_from_evidence(NAMES, [evidence(a=0.0, b=0.0, photograph=0.0)]),
        verdict_from_evidence(NAMES, [evidence(a=-5.0, b=-5.0)]),
        verdict_from_evidence((), []),
    ):
        assert verdict.label == verdict.title == UNDETERMINED
        assert verdict.confidence is None
        assert verdict.title_probability is None


def test_a_candidate_is_named_where_it_is_probable_enough():
    odds = 5 * BY_FINGERPRINT.naming / (1 - BY_FINGERPRINT.naming)  # the prior is 1 to 5
    leaning = verdict_from_evidence(("a",), [evidence(a=math.log(0.98 * odds))])
    convincing = verdict_from_evidence(("a",), [evidence(a=math.log(1.02 * odds))])

    assert leaning.posterior["a"] > leaning.posterior[GENERATED] + leaning.posterior[PHOTOGRAPH]
    assert leaning.label == UNDETERMINED
    assert convincing.label == "a"


def test_with_the_reference_a_name_takes_more():
    odds = 5 * BY_REFERENCE.naming / (1 - BY_REFERENCE.naming)  # the prior is 1 to 5

    def label(name, share, *others):
        ratio = {"a": math.log(share * odds)}
        return verdict_from_evidence(("a",), [Evidence(name, {}, ratio, 0.0), *others]).label

    assert label(REFERENCE, 0.98) != "a"
    assert label(REFERENCE, 1.02) == "a"
    assert label(FINGERPRINT, 0.98) == "a"
    assert label(REFERENCE, 0.98, evidence(FINGERPRINT, a=0.0)) != "a"
    assert label(FINGERPRINT, 0.98, evidence(REFERENCE)) == "a"  # it says nothing


def test_what_the_reference_says_of_others_makes_no_name_harder():
    """A candidate that was enrolled without embeddings, or has none, is named by the rest."""
    ratio = math.log(1.02 * 5 * BY_FINGERPRINT.naming / (1 - BY_FINGERPRINT.naming))
    others = Evidence(REFERENCE, {}, {"b": -3.0}, 0.0)
    verdict = verdict_from_evidence(("a", "b"), [evidence(a=ratio, b=-9.0), others])
    assert verdict.label == "a"
    family = verdict_from_evidence(("a", "b"), [evidence(a=ratio, b=-9.0), others], [("a", "b")])
    assert family.label != "a"


def test_a_probability_at_a_limit_is_on_its_side():
    rest = {GENERATED: 1 - BY_FINGERPRINT.naming, PHOTOGRAPH: 0.0}
    below = math.nextafter(BY_FINGERPRINT.naming, 0)

    assert decisive_group({"a": BY_FINGERPRINT.naming, **rest}, ("a",)) == ("a",)
    assert decisive_group({"a": below, **rest}, ("a",)) is None
    members = {"a": SINGLED_OUT, "b": 1 - SINGLED_OUT}
    assert inseparable_members(members, ("a", "b"), SINGLED_OUT) == ()
    assert inseparable_members(members, ("a", "b"), 0.901) == ("a", "b")
    assert inseparable_members(members, ("a",), 1.1) == ()  # alone, it has no siblings
    assert inseparable_members({"a": 0.48, "b": 0.02}, ("a", "b"), SINGLED_OUT) == ()


def test_of_equal_candidates_the_first_is_named():
    posterior = {"a": 0.45, "b": 0.45, GENERATED: 0.1, PHOTOGRAPH: 0.0}

    assert decisive_group(posterior, ("a", "b")) is None
    assert decisive_group(posterior, ("a", "b"), [("b", "a")]) == ("b", "a")
    assert decisive_group({"a": 0.9, "b": 0.9}, ("a", "b")) == ("a",)


def test_evidence_against_a_photograph_makes_it_generated_by_nobody_known():
    verdict = verdict_from_evidence(NAMES, [evidence(a=-5.0, b=-5.0, photograph=-3.0)])

    assert verdict.label == GENERATED
    assert verdict.title == "generated, source unknown"
    assert verdict.posterior[PHOTOGRAPH] < BY_FINGERPRINT.photograph
    assert verdict.confidence == verdict.title_probability == 1 - verdict.posterior[PHOTOGRAPH]


def test_the_share_of_a_photograph_decides_where_no_candidate_is_named():
    for limits in (BY_FINGERPRINT, BY_REFERENCE):
        at_most, more = limits.photograph, limits.photograph + 0.01
        assert none_label({GENERATED: 0.5, PHOTOGRAPH: at_most}, limits) == GENERATED
        assert none_label({GENERATED: 0.5, PHOTOGRAPH: more}, limits) == UNDETERMINED


def test_evidence_for_a_photograph_is_in_the_posterior_alone():
    verdict = verdict_from_evidence(NAMES, [evidence(a=-5.0, b=-5.0, photograph=9.0)])

    assert verdict.posterior[PHOTOGRAPH] == pytest.approx(0.88, abs=0.01)
    assert verdict.label == UNDETERMINED


def test_looking_like_a_photograph_takes_no_name_from_a_source_that_fits_well():
    """Nobody fitted the heads on a generator that a user enrols."""
    found = [evidence(REFERENCE, a=6.0, b=-5.0), evidence(a=0.0, photograph=9.0)]
    at_most = [evidence(REFERENCE, a=6.0, b=-5.0), evidence(a=0.0, photograph=MOST_FOR_PHOTOGRAPH)]

    verdict = verdict_from_evidence(NAMES, found)

    assert verdict.label == "a"
    assert verdict.posterior == verdict_from_evidence(NAMES, at_most).posterior
    assert verdict.evidence[1].llr[PHOTOGRAPH] == 9.0  # it is told as it is


@given(*[st.floats(-50, 50)] * 4)
def test_no_label_ever_says_that_an_image_is_real(a, b, generated, photograph):
    said = evidence(a=a, b=b, generated=generated, photograph=photograph)
    verdict = verdict_from_evidence(NAMES, [said])

    assert verdict.label in {*NAMES, GENERATED, UNDETERMINED}
    assert verdict.label not in {"real", PHOTOGRAPH}


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=2))
def test_posterior_sums_to_one(values):
    verdict = verdict_from_evidence(NAMES, [evidence(**dict(zip(NAMES, values, strict=True)))])

    assert sum(verdict.posterior.values()) == pytest.approx(1)


def test_what_cannot_be_told_apart_is_weighed_together():
    evidence = [Evidence("fingerprint", {}, {"a": 3.0, "b": 2.9, "c": 0.0}, 1.0)]

    alone = verdict_from_evidence(("a", "b", "c"), evidence)
    together = verdict_from_evidence(("a", "b", "c"), evidence, [("a", "b")])

    assert alone.family == ()
    assert (together.label, together.family) == ("a", ("a", "b"))
    clear = [Evidence("fingerprint", {}, {"a": 6.0, "b": 2.0, "c": 0.0}, 1.0)]
    assert verdict_from_evidence(("a", "b", "c"), clear, [("a", "b")]).family == ()


def test_what_speaks_against_a_photograph_speaks_for_no_candidate():
    evidence_of_a = evidence(a=2.0)
    before = verdict_from_evidence(NAMES, [evidence_of_a]).posterior
    after = verdict_from_evidence(NAMES, [evidence_of_a, evidence(photograph=-6.0)]).posterior
    against = verdict_from_evidence(NAMES, [evidence_of_a, evidence(photograph=2.0)]).posterior

    assert after["a"] == pytest.approx(before["a"])
    assert after[GENERATED] > 1.9 * before[GENERATED]
    assert against["a"] < before["a"]
