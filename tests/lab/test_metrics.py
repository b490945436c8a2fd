from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lineup_lab.metrics import (
    auc,
    bootstrap_counts,
    bootstrap_interval,
    resampled_aucs,
    resampled_oscrs,
)

# Few distinct values, so that ties within and across the classes are the rule.
tied_scores = hnp.arrays(
    np.float64, st.integers(1, 30), elements=st.sampled_from([-1.0, 0, 0.5, 2])
)
seeds = st.integers(0, 2**32 - 1)


def oscr(known, correct, unknown):
    """Of the sample itself: every image is drawn once."""
    once = (np.ones((1, len(scores)), np.int64) for scores in (known, unknown))
    return float(resampled_oscrs(known, correct, unknown, *once)[0])


def auc_by_pairs(positives: np.ndarray, negatives: np.ndarray) -> float:
    """The definition, pair by pair."""
    difference = positives[:, None] - negatives[None, :]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


@pytest.mark.parametrize(
    ("positives", "negatives", "expected"),
    [
        ([2.0, 3.0], [0.0, 1.0], 1.0),
        ([0.0, 1.0], [2.0, 3.0], 0.0),
        ([1.0] * 5, [1.0] * 7, 0.5),  # votes of one nearest neighbour
        ([0.8, 0.4], [0.6, 0.2], 0.75),
        ([1.0, 0.5], [0.5], 0.75),  # one win, one tie
        ([np.inf], [np.inf, -np.inf], 0.75),
        ([5], [3], 1.0),  # integers
    ],
)
def test_auc_of_known_cases(positives, negatives, expected):
    assert auc(positives, negatives) == expected


@given(tied_scores, tied_scores)
def test_auc_is_the_share_of_pairs_won(positives, negatives):
    assert auc(positives, negatives) == pytest.approx(auc_by_pairs(positives, negatives), abs=1e-12)


@given(tied_scores, tied_scores)
def test_swapping_the_classes_gives_the_complement(positives, negatives):
    assert auc(positives, negatives) == pytest.approx(1 - auc(negatives, positives), abs=1e-12)


@given(tied_scores, tied_scores)
def test_auc_is_unchanged_by_a_rising_transform(positives, negatives):
    assert auc(np.exp(positives) * 3 - 7, np.exp(negatives) * 3 - 7) == auc(positives, negatives)


def test_float16_scores_are_compared_in_float64():
    scores = np.array([1000, 1001], np.float16)

    assert auc(scores[1:], scores[:1]) == 1.0


@pytest.mark.parametrize(
    ("positives", "negatives", "message"),
    [
        ([], [1.0], "positives is empty"),
        ([1.0], [], "negatives is empty"),
        ([1.0, np.nan], [1.0], "positives holds NaN"),
        ([1.0], [[1.0]], "negatives must be one-dimensional"),
    ],
)
def test_auc_names_the_class_that_cannot_be_used(positives, negatives, message):
    with pytest.raises(ValueError, match=message):
        auc(positives, negatives)


def test_oscr_of_one_nearest_neighbour_votes_is_half_the_accuracy():
    # METHODS: all scores 1.0 at an accuracy of 96.8 % give AUROC 50.00 and OSCR 48.40.
    known, unknown = np.ones(1000), np.ones(1000)
    correct = np.arange(1000) < 968

    assert 100 * auc(known, unknown) == pytest.approx(50.00)
    assert 100 * oscr(known, correct, unknown) == pytest.approx(48.40)


def test_oscr_equals_the_auroc_when_every_known_image_is_classified_right():
    rng = np.random.default_rng(0)
    known, unknown = rng.integers(0, 6, 300) / 5, rng.integers(0, 4, 200) / 5  # 5-NN votes

    assert oscr(known, np.ones(300, bool), unknown) == pytest.approx(auc(known, unknown))


def test_oscr_is_the_area_under_the_curve_when_nothing_ties():
    rng = np.random.default_rng(1)
    known, unknown = rng.normal(0.8, 1, 200), rng.normal(0, 1, 200)
    correct = rng.random(200) < 0.85
    thresholds = np.sort(np.concatenate([known, unknown]))[::-1]
    rate_of_correct = [np.mean((known >= t) & correct) for t in thresholds]
    rate_of_false = [np.mean(unknown >= t) for t in thresholds]

    area = np.sum(np.diff(rate_of_false, prepend=0) * rate_of_correct)

    assert oscr(known, correct, unknown) == pytest.approx(area)


@given(tied_scores, tied_scores, seeds)
def test_oscr_is_at_most_the_auroc_and_the_accuracy(known, unknown, seed):
    correct = np.random.default_rng(seed).random(len(known)) < 0.5

    value = oscr(known, correct, unknown)

    assert value <= auc(known, unknown) + 1e-12
    assert value <= correct.mean() + 1e-12


@given(tied_scores, tied_scores, seeds)
def test_resampled_auc_equals_the_auc_of_the_repeated_scores(positives, negatives, seed):
    sizes = {"positives": len(positives), "negatives": len(negatives)}
    (counts,) = bootstrap_counts(sizes, seed=seed, resamples=5)
    positive_counts, negative_counts = counts.values()

    fast = resampled_aucs(positives, negatives, positive_counts, negative_counts)

    naive = [
        auc(np.repeat(positives, drawn_positives), np.repeat(negatives, drawn_negatives))
        for drawn_positives, drawn_negatives in zip(positive_counts, negative_counts, strict=True)
    ]
    np.testing.assert_allclose(fast, naive, atol=1e-12)


@given(tied_scores, tied_scores, seeds)
def test_resampled_oscr_equals_the_oscr_of_the_repeated_scores(known, unknown, seed):
    rng = np.random.default_rng(seed)
    correct = rng.random(len(known)) < 0.7
    sizes = {"known": len(known), "unknown": len(unknown)}
    (counts,) = bootstrap_counts(sizes, seed=seed, resamples=5)
    known_counts, unknown_counts = counts.values()

    fast = resampled_oscrs(known, correct, unknown, known_counts, unknown_counts)

    naive = [
        oscr(np.repeat(known, k), np.repeat(correct, k), np.repeat(unknown, u))
        for k, u in zip(known_counts, unknown_counts, strict=True)
    ]
    np.testing.assert_allclose(fast, naive, atol=1e-12)


def test_every_resample_draws_as_many_as_there_are():
    (drawn,) = bootstrap_counts({"a": 40}, seed=0, resamples=300)
    counts = drawn["a"]

    assert counts.shape == (300, 40)
    assert (counts.sum(axis=1) == 40).all()
    assert counts.mean() == 1.0
    # Poisson-like: 1/e of the items are left out of a resample.
    assert np.mean(counts == 0) == pytest.approx(np.exp(-1), abs=0.02)


def test_interval_cuts_equal_tails():
    low, high = bootstrap_interval(np.arange(1001), level=0.9)

    assert (low, high) == pytest.approx((50.0, 950.0))


@pytest.mark.parametrize(
    ("samples", "level"), [([], 0.95), ([np.nan], 0.95), ([1.0], 0.0), ([1.0], 95)]
)
def test_interval_refuses_what_has_none(samples, level):
    with pytest.raises(ValueError, match=r"samples|level"):
        bootstrap_interval(samples, level)
