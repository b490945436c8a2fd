import numpy as np
import pytest

from lineup_lab.verification import ScoreRule, scores_from_support


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

    scores = scores_from_support(queries.astype(np.float64), support, rule)

    np.testing.assert_allclose(
        scores, [by_definition(query, support, rule) for query in queries], atol=1e-6
    )


def test_a_mean_without_direction_scores_nothing():
    row = unit_rows(4, 1)

    support = np.concatenate([row, -row])
    scores = scores_from_support(row.astype(np.float64), support, ScoreRule.PROTOTYPE)

    assert scores.tolist() == [0.0]
