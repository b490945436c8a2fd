from __future__ import annotations

import numpy as np
import pytest

from lineup.gallery.discriminant import PENALTY, Discriminant

DIMENSION = 24
PHOTOGRAPHS = 2


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def drawn_members(count):
    """Two sources and photographs: what they show varies far more than what made them."""
    draw = np.random.default_rng(20261129)
    spread = np.where(np.arange(DIMENSION) < 12, 1.0, 0.15)
    members = {}
    for number in (0, 1, PHOTOGRAPHS):
        rows = draw.normal(size=(count + number, DIMENSION)) * spread
        rows[:, 12 + number] += 1
        members[number] = unit(rows)
    return members


def ridge(rows, targets, weights, bias, query):
    """Ridge regression, with a bias that is given, as any textbook writes it."""
    weighed = rows.T * weights
    left = weighed @ rows + PENALTY * np.eye(rows.shape[1])
    return query @ np.linalg.solve(left, weighed @ (targets - bias)) + bias


@pytest.fixture(params=[5, 30])  # fewer rows than numbers, and more
def members(request):
    return drawn_members(request.param)


def flat(members):
    """All rows, the number of each one's source, targets, weights and bias of the whole fit."""
    owners = np.repeat(list(members), [len(rows) for rows in members.values()])
    rows = np.concatenate(list(members.values())).astype(np.float64)
    targets = (owners[:, None] == np.array([0, 1])).astype(float)
    weights = len(owners) / 3 / np.bincount(owners)[owners]
    return rows, owners, targets, weights, targets.mean(axis=0)


def test_it_is_a_ridge_regression_in_which_all_sources_weigh_alike(members):
    rows, _, targets, weights, bias = flat(members)
    query = unit(np.random.default_rng(1).normal(size=(7, DIMENSION)))
    expected = ridge(rows, targets, weights, bias, query)
    found = Discriminant.fitted(members, [0, 1]).scores(query)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("own", [0, 1, PHOTOGRAPHS])
def test_its_own_images_are_judged_by_a_fit_without_them(members, own):
    """Also where they are asked about after another channel than the one that is fitted."""
    rows, owners, targets, weights, bias = flat(members)
    asking = unit(members[own] + np.random.default_rng(2).normal(0, 0.1, members[own].shape))
    expected = np.empty((len(asking), 2))
    for row, place in enumerate(np.flatnonzero(owners == own)):
        without_it = np.arange(len(owners)) != place
        for column in (0, 1):
            is_missing = own in {0, 1} and column != own
            kept = owners != own if is_missing else without_it
            found = ridge(rows[kept], targets[kept], weights[kept], bias, asking[row : row + 1])
            expected[row, column] = found[0, column]
    fit = Discriminant.fitted(members, [0, 1])
    np.testing.assert_allclose(fit.scores(asking, own), expected, atol=1e-5)


def test_what_is_kept_without_its_members_scores_queries(members):
    fit = Discriminant.fitted(members, [0, 1])
    kept = Discriminant(fit.sources, fit.slopes, fit.bias)
    np.testing.assert_array_equal(kept.scores(members[0]), fit.scores(members[0]))
    np.testing.assert_array_equal(kept.scores(members[0], own=0), fit.scores(members[0]))


def test_what_made_an_image_outweighs_what_it_shows():
    fit = Discriminant.fitted(drawn_members(30), [0, 1])
    fresh = {number: rows[-1:] for number, rows in drawn_members(31).items()}
    assert fit.scores(fresh[0]).argmax() == 0
    assert fit.scores(fresh[1]).argmax() == 1


def test_photographs_are_one_class_however_many_sets_they_come_in():
    members = drawn_members(6)
    halves = {**members, PHOTOGRAPHS: members[PHOTOGRAPHS][:3], 3: members[PHOTOGRAPHS][3:]}
    whole, parted = Discriminant.fitted(members, [0, 1]), Discriminant.fitted(halves, [0, 1])
    np.testing.assert_allclose(whole.scores(members[0]), parted.scores(members[0]), atol=1e-6)


def test_a_source_alone_differs_from_nobody():
    rows = drawn_members(6)[0]
    np.testing.assert_array_equal(Discriminant.fitted({0: rows}, [0]).scores(rows, own=0), 0)
