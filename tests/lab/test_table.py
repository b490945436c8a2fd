import numpy as np
import pytest

from lineup.calibration.calibration import EvidenceKind
from lineup.calibration.verdict import scores_from_evidence
from lineup.errors import CalibrationError
from lineup.results import GENERATED, PHOTOGRAPH, Evidence
from lineup_lab.table import (
    LabelledQuery,
    ScoreTable,
    folds_from_groups,
    label_weights,
    table_from_queries,
    with_strangers,
)


def query(number, truth, scores=None, group=""):
    return LabelledQuery(str(number), truth, scores or {"e": {"a": 1.0, "b": 2.0}}, group)


def test_scores_are_arranged_and_absent_ones_are_nan():
    table = table_from_queries(
        ["a", "b"],
        [
            query(0, "a", {"e": {"a": 1.0, "elsewhere": 9.0}, "head": {PHOTOGRAPH: 3.0}}),
            query(1, PHOTOGRAPH, {"e": {"b": float("inf")}}),
        ],
    )

    np.testing.assert_array_equal(table.scores["e"], [[1.0, np.nan], [np.nan, np.nan]])
    np.testing.assert_array_equal(table.scores["head"], [[3.0], [np.nan]])
    assert table.kinds == {"e": EvidenceKind.CANDIDATES, "head": EvidenceKind.PHOTOGRAPH}
    assert table.counts == {"a": 1, "b": 0, GENERATED: 0, PHOTOGRAPH: 1}


def test_a_foreign_label_and_mixed_evidence_are_named():
    with pytest.raises(
        CalibrationError, match=r"'elm'.*expected one of: a, b, generated, photograph"
    ):
        table_from_queries(["a", "b"], [query(7, "elm")])
    with pytest.raises(CalibrationError, match="photographs and candidates at once"):
        table_from_queries(["a"], [query(7, "a", {"e": {"a": 1.0, PHOTOGRAPH: 2.0}})])


def test_labels_weigh_as_their_prior_however_many_queries_they_have():
    truths = ["a"] * 2 + ["b"] * 10 + [GENERATED] * 20 + [PHOTOGRAPH] * 5
    table = table_from_queries(["a", "b"], [query(n, one) for n, one in enumerate(truths)])

    weights = label_weights(table)

    sums = np.bincount(table.truth, weights)
    assert weights.sum() == pytest.approx(len(truths))
    np.testing.assert_allclose(sums / sums.sum(), [1 / 6, 1 / 6, 1 / 3, 1 / 3])


def test_folds_are_even_per_label_and_keep_groups_together():
    queries = [
        query(f"{label}-{n}", label, group=f"prompt-{n}")
        for label in ("a", "b", GENERATED)
        for n in range(20)
    ]
    table = table_from_queries(["a", "b"], queries)

    folds = folds_from_groups(table, 5, seed=0)

    for label in range(3):
        assert np.bincount(folds[table.truth == label], minlength=5).tolist() == [4] * 5
    for start in range(20):
        assert len({folds[start], folds[20 + start], folds[40 + start]}) == 1
    assert (folds != folds_from_groups(table, 5, seed=1)).any()


def test_an_evidence_without_scores_is_calibrated_from_its_ratios():
    assert scores_from_evidence(Evidence("head", {}, {PHOTOGRAPH: 2.0}, 0.0)) == {PHOTOGRAPH: 2.0}
    assert scores_from_evidence(Evidence("e", {"a": 1.0}, {"a": 5.0}, 0.0)) == {"a": 1.0}


def test_every_candidate_is_taken_for_a_stranger_together_with_its_siblings() -> None:
    table = ScoreTable(
        candidates=("ash", "birch", "cedar"),
        truth=np.array([0, 2, 3, 4]),
        scores={"e": np.arange(12.0).reshape(4, 3), PHOTOGRAPH: np.arange(4.0)[:, None]},
        kinds={"e": EvidenceKind.CANDIDATES, PHOTOGRAPH: EvidenceKind.PHOTOGRAPH},
        groups=("a", "b", "c", "d"),
    )
    grown = with_strangers(table, {"ash": "fern", "birch": "fern"})
    assert grown.truth.tolist() == [0, 2, 3, 4, 3, 3]
    assert grown.groups == ("a", "b", "c", "d", "a", "b")
    np.testing.assert_array_equal(grown.scores["e"][:4], table.scores["e"])
    np.testing.assert_array_equal(
        grown.scores["e"][4:], [[np.nan, np.nan, 2.0], [3.0, 4.0, np.nan]]
    )
    assert grown.scores[PHOTOGRAPH].ravel().tolist() == [0.0, 1.0, 2.0, 3.0, 0.0, 1.0]


def test_without_another_candidate_there_are_no_strangers() -> None:
    table = ScoreTable(
        candidates=("ash",),
        truth=np.array([0, 1]),
        scores={"e": np.ones((2, 1))},
        kinds={"e": EvidenceKind.CANDIDATES},
        groups=("a", "b"),
    )
    assert with_strangers(table, {}) is table
