import numpy as np
import pytest

from lineup.errors import CalibrationError
from lineup.results import GENERATED, PHOTOGRAPH
from lineup_lab.fit_calibration import (
    FitOptions,
    calibratable_evidences,
    check_counts,
    fit_variant,
    held_out_posteriors,
    match_counts,
)
from lineup_lab.table import LabelledQuery, table_from_queries

CANDIDATES = ("ash", "birch", "cedar", "dogwood")
FAMILIES = {"ash": "vae-1", "birch": "vae-1", "cedar": "vae-2", "dogwood": "vae-3"}
FAST = FitOptions(folds=3)


def fitted(queries):
    table = table_from_queries(CANDIDATES, queries)
    return fit_variant(table, {name: {"gamma": 4} for name in table.scores}, FAMILIES, FAST)


def test_held_out_posteriors_are_right_and_calibrated(world):
    table = table_from_queries(CANDIDATES, world(40, seed=1))

    held_out = held_out_posteriors(table, tuple(table.scores), FAST)

    both = held_out[frozenset({"resynthesis", "fingerprint"})]
    alone = held_out[frozenset({"fingerprint"})]

    assert sorted(both.rows.tolist()) == list(range(len(table)))
    known = table.truth[both.rows] < 4
    right = both.log_posterior[:, :4].argmax(axis=1) == table.truth[both.rows]
    alone_right = alone.log_posterior[:, :4].argmax(axis=1) == table.truth[alone.rows]
    assert right[known].mean() > 0.95
    assert right[known].mean() > alone_right[table.truth[alone.rows] < 4].mean()
    own = both.log_posterior[np.arange(len(table)), table.truth[both.rows]]
    # Half of "none of them" is the most that evidence without a word on photographs can give.
    assert np.exp(own[~known]).mean() == pytest.approx(0.45, abs=0.05)


def test_siblings_that_are_alike_get_a_rule_that_never_separates_them(world):
    alike = fitted(world(30, seed=2, sibling_likeness=1.0))
    apart = fitted(world(30, seed=2, strength=5.0))

    both = frozenset({"resynthesis", "fingerprint"})
    assert alike.by_set[both].families["vae-1"].share > 1
    assert apart.by_set[both].families["vae-1"].share <= 0.95
    assert set(apart.by_set[both].families) == {"vae-1"}


def test_the_same_queries_give_the_same_fit(world):
    queries = world(15, seed=5)

    first, again = (fitted(queries) for _ in range(2))

    assert first == again


def test_evidence_with_too_few_scores_is_left_out(world):
    queries = world(15, seed=5, real_strength=3.0)
    queries = [
        LabelledQuery(one.id, one.truth, {n: s for n, s in one.scores.items() if n != "real-head"})
        if one.truth == PHOTOGRAPH
        else one
        for one in queries
    ]
    table = table_from_queries(CANDIDATES, queries)

    assert match_counts(table, "real-head") == (0, 75)
    assert calibratable_evidences(table) == ("fingerprint", "resynthesis")


@pytest.mark.parametrize(
    ("counts", "problem"),
    [
        ({GENERATED: 9}, "No query is of a candidate"),
        ({"ash": 4, GENERATED: 9}, "'ash' has 4 usable queries, expected at least 5"),
        ({"ash": 9, GENERATED: 2, PHOTOGRAPH: 2}, "4 usable queries are of no candidate"),
    ],
)
def test_too_few_queries_are_refused(counts, problem):
    table = table_from_queries(
        CANDIDATES,
        [
            LabelledQuery(f"{label}{n}", label, {"e": {"ash": 0.0}})
            for label, count in counts.items()
            for n in range(count)
        ],
    )

    with pytest.raises(CalibrationError, match=problem):
        check_counts(table)


def test_an_evidence_nobody_has_enough_of_is_refused():
    queries = [
        LabelledQuery(f"{label}{n}", label, {}) for label in ("ash", GENERATED) for n in range(9)
    ]

    with pytest.raises(CalibrationError, match="No evidence has at least 5"):
        fitted(queries)
