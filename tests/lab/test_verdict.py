import math
from dataclasses import replace

import numpy as np
import pytest

from lineup.calibration.calibration import Calibration
from lineup.calibration.verdict import default_ratios, verdict_from_scores
from lineup.fusion import BY_FINGERPRINT, verdict_from_evidence
from lineup.results import GENERATED, PHOTOGRAPH, UNDETERMINED, Evidence
from lineup_lab.fit_calibration import FitOptions, fit_variant
from lineup_lab.table import table_from_queries

CANDIDATES = ("ash", "birch", "cedar", "dogwood")
FAMILIES = {"ash": "vae-1", "birch": "vae-1", "cedar": "vae-2", "dogwood": "vae-3"}
OPTIONS = {name: {"gamma": 4} for name in ("resynthesis", "fingerprint", "real-head")}


def calibrated(queries):
    table = table_from_queries(CANDIDATES, queries)
    fit = fit_variant(table, OPTIONS, FAMILIES, FitOptions(folds=3))
    return Calibration(
        lineup="test",
        candidates=CANDIDATES,
        level=0.9,
        family_level=0.9,
        created="2026-01-31",
        version="0",
        seed=0,
        folds=3,
        counts=table.counts,
        variants=(fit,),
    )


@pytest.fixture(scope="module")
def calibration(world):
    return calibrated(world(40, seed=1, sibling_likeness=1.0, real_strength=4.0))


def evidence(scores, **changes):
    return [replace(Evidence(name, one, {}, 1.0), **changes) for name, one in scores.items()]


def verdict(scores, calibration, **changes):
    settings = {"options": OPTIONS, "families": FAMILIES} | changes
    return verdict_from_scores(CANDIDATES, evidence(scores), calibration=calibration, **settings)


def test_answers_are_right_and_sets_cover_the_truth(world, calibration):
    queries = world(60, seed=77, strength=5.0, sibling_likeness=1.0, real_strength=4.0)

    verdicts = [verdict(one.scores, calibration) for one in queries]

    covered = [
        one.truth in answer.candidates_set for one, answer in zip(queries, verdicts, strict=True)
    ]
    right = [  # a photograph can at most be left undetermined
        (UNDETERMINED if one.truth == PHOTOGRAPH else one.truth) in (answer.label, *answer.family)
        for one, answer in zip(queries, verdicts, strict=True)
    ]
    assert np.mean(covered) >= 0.88
    assert np.mean(right) >= 0.85
    assert all(answer.candidates_set for answer in verdicts)
    assert all(answer.label in (*answer.candidates_set, UNDETERMINED) for answer in verdicts)
    assert {answer.label for answer in verdicts} <= {*CANDIDATES, GENERATED, UNDETERMINED}
    assert all(UNDETERMINED not in answer.candidates_set for answer in verdicts)
    assert all(sum(answer.posterior.values()) == pytest.approx(1) for answer in verdicts)
    assert all(not answer.notes for answer in verdicts)


def test_siblings_are_reported_together_and_others_alone(world, calibration):
    queries = world(40, seed=78, strength=5.0, sibling_likeness=1.0, real_strength=4.0)
    of_siblings = [verdict(one.scores, calibration) for one in queries if one.truth == "ash"]
    of_cedar = [verdict(one.scores, calibration) for one in queries if one.truth == "cedar"]

    assert np.mean([set(one.family) == {"ash", "birch"} for one in of_siblings]) > 0.9
    assert not any(one.family for one in of_cedar)
    together = next(one for one in of_siblings if one.family)
    assert together.family[0] == together.label
    assert together.title == " or ".join(together.family)
    assert together.title_probability == pytest.approx(
        together.posterior["ash"] + together.posterior["birch"]
    )


def test_a_family_may_outweigh_none_of_them_where_no_member_does(calibration):
    # Even scores of both siblings, a little above all else.
    found = []
    for height in np.linspace(0, 4, 81):
        scores = {"fingerprint": {"ash": height, "birch": height, "cedar": 0.0, "dogwood": 0.0}}
        answer = verdict(scores, calibration)
        if answer.label == "ash" and answer.posterior["ash"] < BY_FINGERPRINT.naming:
            found.append(answer)
    assert found
    assert all(set(one.family) == {"ash", "birch"} for one in found)


def test_siblings_that_no_longer_share_a_vae_are_no_family(calibration):
    scores = {"fingerprint": {"ash": 4.0, "birch": 4.0, "cedar": 0.0, "dogwood": 0.0}}

    assert verdict(scores, calibration).family
    assert verdict(scores, calibration, families=None).family
    assert not verdict(scores, calibration, families=FAMILIES | {"birch": "vae-9"}).family


def test_missing_evidence_is_absent_and_never_negative(world, calibration):
    scores = world(1, seed=5)[0].scores  # made by ash
    alone = verdict({"fingerprint": scores["fingerprint"]}, calibration)
    silent = verdict({"fingerprint": scores["fingerprint"], "resynthesis": {}}, calibration)
    partly = verdict(
        {"fingerprint": scores["fingerprint"], "resynthesis": {"cedar": 0.5}}, calibration
    )

    assert silent.posterior == alone.posterior
    assert partly.fused_llr["ash"] == pytest.approx(alone.fused_llr["ash"])


@pytest.mark.parametrize("broken", [math.inf, -math.inf, math.nan])
def test_a_score_that_is_no_number_is_absent(calibration, broken):
    whole = {"ash": 4.0, "birch": 0.0, "cedar": 0.0}
    found = verdict({"fingerprint": whole | {"dogwood": broken}}, calibration)

    assert found.fused_llr == verdict({"fingerprint": whole}, calibration).fused_llr
    assert "dogwood" not in found.evidence[0].llr
    assert GENERATED not in found.fused_llr  # nothing speaks of it


def test_evidence_on_photographs_decides_between_generated_and_undetermined(calibration):
    nothing = {"fingerprint": dict.fromkeys(CANDIDATES, -0.5)}

    photograph = verdict(nothing | {"real-head": {PHOTOGRAPH: 5.0}}, calibration)
    generated = verdict(nothing | {"real-head": {PHOTOGRAPH: -1.0}}, calibration)
    unasked = verdict(nothing, calibration)

    assert (photograph.label, unasked.label, generated.label) == (
        UNDETERMINED,
        UNDETERMINED,
        GENERATED,
    )
    assert photograph.fused_llr[PHOTOGRAPH] > 1
    assert unasked.posterior[PHOTOGRAPH] == pytest.approx(unasked.posterior[GENERATED])


def test_other_options_and_absent_calibrations_are_said_and_claim_little(world, calibration):
    scores = {"resynthesis": world(1, seed=5)[0].scores["resynthesis"]}

    other = verdict(scores, calibration, options={"resynthesis": {"gamma": 1}})
    absent = verdict(scores, None)

    for answer in (other, absent):
        assert answer.candidates_set == ()
        assert answer.family == ()
        assert answer.label == UNDETERMINED
        assert answer.notes == ("not calibrated: resynthesis",)
        assert max(CANDIDATES, key=answer.posterior.get) == "ash"
        assert answer.evidence[0].llr == pytest.approx(default_ratios(scores["resynthesis"]))
    assert absent.evidence[0].notes[0].startswith("not calibrated;")


def test_where_all_calibrated_evidence_is_silent_the_rest_speaks_by_its_own_rule(calibration):
    own_rule = Evidence("gallery", {"cedar": 0.9}, {"cedar": 12.0}, 1.0)
    silent = evidence({"fingerprint": {}, "resynthesis": {}})

    answer, nothing = (
        verdict_from_scores(CANDIDATES, one, calibration=calibration, options=OPTIONS)
        for one in ([*silent, own_rule], silent)
    )

    assert (answer.label, nothing.label) == ("cedar", UNDETERMINED)
    assert answer.posterior == verdict_from_evidence(CANDIDATES, [own_rule]).posterior
    assert answer.candidates_set == nothing.candidates_set == ()
    assert nothing.fused_llr == dict.fromkeys((*CANDIDATES, PHOTOGRAPH), 0.0)


def test_mixed_evidence_adds_the_rule_of_what_is_not_calibrated(world, calibration):
    scores = world(1, seed=5)[0].scores["fingerprint"]
    own_rule = Evidence("gallery", {"cedar": 0.9}, {"cedar": 12.0}, 1.0)

    mixed = verdict_from_scores(
        CANDIDATES,
        [*evidence({"fingerprint": scores}), own_rule],
        calibration=calibration,
        options=OPTIONS,
    )

    assert mixed.label == "cedar"
    assert mixed.notes == ("not calibrated: gallery",)
    assert mixed.candidates_set == ()


def test_without_a_calibration_ratios_of_an_own_rule_give_the_verdict_of_the_plain_sum():
    own_rule = Evidence("fingerprint", {"ash": 0.4}, {"ash": 4.5, "cedar": -2.0}, 1.0)

    answer = verdict_from_scores(CANDIDATES, [own_rule])
    plain = verdict_from_evidence(CANDIDATES, [own_rule])

    assert answer.label == plain.label == "ash"
    assert answer.posterior == pytest.approx(plain.posterior)


def test_default_ratios_compare_the_softmax_with_an_even_chance():
    ratios = default_ratios({"a": math.log(3.0), "b": 0.0})

    assert ratios == pytest.approx({"a": math.log(1.5), "b": math.log(0.5)})


def test_a_new_candidate_is_judged_by_the_shared_part_and_noted(world, calibration):
    scores = dict(world(1, seed=5)[0].scores["fingerprint"])
    scores["elm"] = 9.0

    answer = verdict_from_scores(
        (*CANDIDATES, "elm"),
        evidence({"fingerprint": scores}),
        calibration=calibration,
        options=OPTIONS,
    )

    assert answer.label == "elm"
    assert answer.notes == ("no calibration images of elm: judged as the other candidates are",)
    scores["ash"], scores["elm"] = 9.0, 0.0
    known = verdict_from_scores(
        (*CANDIDATES, "elm"),
        evidence({"fingerprint": scores}),
        calibration=calibration,
        options=OPTIONS,
    )
    assert known.label in ("ash", "birch")
    assert known.notes == ()


def test_sets_that_were_never_seen_together_use_the_most_that_were(world):
    first = world(20, seed=1, without=("fingerprint",))
    second = world(20, seed=2, without=("resynthesis",))
    apart = calibrated([*first, *second])
    scores = world(1, seed=5)[0].scores

    answer = verdict(scores, apart)

    assert len(answer.notes) == 1
    assert answer.notes[0].startswith("left out, as the calibration never saw it together")
    assert answer.candidates_set
