import numpy as np
import pytest

from lineup.calibration.calibration import (
    EvidenceCalibration,
    EvidenceKind,
    Sharing,
    Spread,
    features_from_scores,
)
from lineup.errors import CalibrationError
from lineup.results import GENERATED, PHOTOGRAPH
from lineup_lab.fit_ratios import fit_evidence, pair_loss
from lineup_lab.table import LabelledQuery, table_from_queries

LINE = EvidenceCalibration(
    kind=EvidenceKind.CANDIDATES,
    sharing=Sharing.SHARED,
    shared=Spread(1.0, 2.0),
    spreads={"b": Spread(0.0, 1.0)},
    coefficients={"level": 1.0, "above_mean": 0.0, "above_best": 0.0},
    intercept=0.5,
    limit=5.0,
    counts={},
)


def test_features_compare_a_score_with_the_others_that_are_there():
    features = features_from_scores(
        np.array([[1.0, 4.0, 2.0], [3.0, np.nan, np.nan], [2.0, 2.0, np.nan]]),
        EvidenceKind.CANDIDATES,
    )

    np.testing.assert_array_equal(features[0], [[1, -2, -3], [4, 2.5, 2], [2, -0.5, -2]])
    np.testing.assert_array_equal(features[1, 0], [3, 0, 0])
    np.testing.assert_array_equal(features[2, :2], [[2, 0, 0], [2, 0, 0]])
    assert np.isnan(features[1, 1:]).all()


def test_ratios_standardise_each_candidate_and_never_pass_the_limit():
    ratios = LINE.llrs(np.array([[3.0, 2.0, np.nan], [1e9, -1e9, 0.0]]), ("a", "b", "new"))

    assert ratios[0, 0] == pytest.approx(5 * np.tanh(1.5 / 5))
    assert ratios[0, 1] == pytest.approx(5 * np.tanh(2.5 / 5))
    assert np.isnan(ratios[0, 2])
    assert ratios[1].tolist() == pytest.approx([5.0, -5.0, 0.0])


def test_ratios_are_those_of_the_world_that_the_scores_come_from():
    # Scores without anything in common per query: the exact ratio is that of two Gaussians.
    rng = np.random.default_rng(0)
    queries = [
        LabelledQuery(f"{label}{n}", label, {"e": {"a": rng.normal(2.0 * (label == "a"), 1.0)}})
        for label in ("a", GENERATED, PHOTOGRAPH)
        for n in range(2000)
    ]
    table = table_from_queries(["a"], queries)

    fitted = fit_evidence(table, "e", Sharing.SHARED)

    scores = np.array([[-0.5], [1.0], [2.5]])
    exact = 2.0 * scores[:, 0] - 2.0
    np.testing.assert_allclose(fitted.llrs(scores, ("a",))[:, 0], exact, atol=0.25)


def test_a_higher_score_never_lowers_the_ratio(world):
    table = table_from_queries(("ash", "birch", "cedar", "dogwood"), world(20, seed=3))
    for name in ("resynthesis", "fingerprint"):
        fitted = fit_evidence(table, name, Sharing.PER_CANDIDATE)
        scores = table.scores[name][:1].repeat(50, axis=0)
        scores[:, 1] += np.linspace(-0.5, 0.5, 50)
        assert (np.diff(fitted.llrs(scores, table.candidates)[:, 1]) >= 0).all()


def test_a_candidate_that_is_close_to_everything_gets_a_location_of_its_own():
    rng = np.random.default_rng(0)
    queries = []
    for label in ("a", "b", GENERATED, PHOTOGRAPH):
        for n in range(100):
            scores = {name: rng.normal(2.0 * (name == label)) for name in ("a", "b")}
            queries.append(
                LabelledQuery(f"{label}{n}", label, {"e": scores | {"b": scores["b"] + 6}})
            )
    table = table_from_queries(["a", "b"], queries)

    shared, own = (fit_evidence(table, "e", sharing) for sharing in Sharing)

    assert pair_loss(own, table, "e") < 0.8 * pair_loss(shared, table, "e")
    assert own.spreads["b"].location - own.spreads["a"].location == pytest.approx(6, abs=1)


def test_scores_that_say_nothing_give_ratios_of_nothing():
    queries = [
        LabelledQuery(f"{label}{n}", label, {"e": {"a": 0.3, "b": 0.3}})
        for label in ("a", "b", GENERATED)
        for n in range(10)
    ]
    table = table_from_queries(["a", "b"], queries)

    fitted = fit_evidence(table, "e", Sharing.SHARED)

    np.testing.assert_allclose(fitted.llrs(table.scores["e"], ("a", "b")), 0.0, atol=0.05)


def test_photographs_are_told_from_all_that_is_generated(world):
    candidates = ("ash", "birch", "cedar", "dogwood")
    table = table_from_queries(candidates, world(50, seed=1, real_strength=4.0))

    fitted = fit_evidence(table, "real-head", Sharing.SHARED)

    ratios = fitted.llrs(np.array([[0.0], [4.0]]), (PHOTOGRAPH,))[:, 0]
    assert ratios[0] < -2 < 2 < ratios[1]


def test_what_lacks_is_named():
    only_matches = table_from_queries(["a"], [LabelledQuery("0", "a", {"e": {"a": 1.0}})])
    only_others = table_from_queries(
        ["a"], [LabelledQuery("0", PHOTOGRAPH, {"head": {PHOTOGRAPH: 1.0}})]
    )

    with pytest.raises(CalibrationError, match="made by none of the candidates"):
        fit_evidence(only_matches, "e", Sharing.SHARED)
    with pytest.raises(CalibrationError, match="that is generated"):
        fit_evidence(only_others, "head", Sharing.SHARED)
