import numpy as np
import pytest

from lineup.gallery.rules import ScoreRule, leave_one_out_scores, reference_from_support


def unit_rows(seed, count):
    rows = np.random.default_rng(seed).normal(size=(count, 16))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def by_definition(query, support, rule):
    cosines = sorted(float(query @ row) for row in support)
    if rule is ScoreRule.PROTOTYPE:
        centre = np.mean(support, axis=0)
        return query @ centre / np.linalg.norm(centre)
    return np.mean({ScoreRule.MEAN: cosines, ScoreRule.MAX: cosines[-1:]}.get(rule, cosines[-5:]))


@pytest.mark.parametrize("rule", ScoreRule)
@pytest.mark.parametrize("count", [1, 3, 12])
def test_scores_follow_from_the_definition(rule, count):
    support, queries = unit_rows(0, count), unit_rows(1, 6)

    scores = reference_from_support(support, rule).scores(queries)

    assert scores.dtype == np.float32
    np.testing.assert_allclose(
        scores, [by_definition(query, support, rule) for query in queries], atol=1e-6
    )


@pytest.mark.parametrize("rule", ScoreRule)
@pytest.mark.parametrize("count", [2, 4, 9])
def test_a_left_out_row_is_scored_against_the_others(rule, count):
    support = unit_rows(2, count)

    scores = leave_one_out_scores(support, rule)

    expected = [
        by_definition(support[row], np.delete(support, row, axis=0), rule) for row in range(count)
    ]
    np.testing.assert_allclose(scores, expected, atol=1e-6)


@pytest.mark.parametrize("rule", ScoreRule)
def test_a_single_row_has_no_others(rule):
    assert leave_one_out_scores(unit_rows(3, 1), rule).shape == (0,)


def test_a_mean_without_direction_scores_nothing():
    row = unit_rows(4, 1)

    scores = reference_from_support(np.concatenate([row, -row]), ScoreRule.PROTOTYPE).scores(row)

    assert scores.tolist() == [0.0]
