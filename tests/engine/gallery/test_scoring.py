import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineup.gallery.gallery import Gallery, SourceRole, SupportSet
from lineup.gallery.scoring import (
    PRIOR_INTERCEPT,
    PRIOR_SLOPE,
    SourceScorer,
    highest_rate,
    leave_one_out_scores,
)

DIMENSION = 64


def unit_rows(rng, count, centre=None, spread=1.0):
    rows = rng.normal(0, spread, (count, DIMENSION))
    if centre is not None:
        rows += centre
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def support(name, rows, role=SourceRole.CANDIDATE):
    ids = tuple(f"{name:0>10}{i:0>54}".encode().hex()[-64:] for i in range(len(rows)))
    return SupportSet(name, role, rows, ids)


def gallery_from(*sets):
    return Gallery("digest", {one.name: one for one in sets})


@pytest.fixture
def centres():
    return np.random.default_rng(20261122).normal(0, 1, (3, DIMENSION))


@pytest.fixture
def gallery(centres):
    rng = np.random.default_rng(1)
    return gallery_from(
        support("a", unit_rows(rng, 30, centres[0])),
        support("b", unit_rows(rng, 30, centres[1])),
        support("photos", unit_rows(rng, 40), SourceRole.REAL),
    )


def test_score_is_the_mean_cosine_with_the_support(gallery):
    queries = unit_rows(np.random.default_rng(2), 5)

    scores = SourceScorer(gallery).scores(queries)

    expected = np.stack(
        [(queries @ gallery.sources[name].fingerprints.T).mean(axis=1) for name in ("a", "b")],
        axis=1,
    )
    np.testing.assert_allclose(scores, expected, atol=1e-6)


@pytest.mark.parametrize("count", [2, 4, 9])
def test_a_left_out_row_is_scored_against_the_others(count):
    rows = unit_rows(np.random.default_rng(7), count)

    expected = [rows[row] @ np.delete(rows, row, axis=0).mean(axis=0) for row in range(count)]

    np.testing.assert_allclose(leave_one_out_scores(rows), expected, atol=1e-6)


def test_a_single_row_has_no_others():
    assert leave_one_out_scores(unit_rows(np.random.default_rng(7), 1)).shape == (0,)


def test_photographs_are_no_candidate(gallery):
    assert SourceScorer(gallery).names == ("a", "b")


def test_llr_is_positive_for_the_source_and_negative_for_others(gallery, centres):
    rng = np.random.default_rng(3)
    scorer = SourceScorer(gallery)

    own = scorer.llrs(scorer.scores(unit_rows(rng, 50, centres[0])))[:, 0]
    other = scorer.llrs(scorer.scores(unit_rows(rng, 50, centres[1])))[:, 0]
    unseen = scorer.llrs(scorer.scores(unit_rows(rng, 50, centres[2])))[:, 0]

    assert np.mean(own > 0) > 0.95
    assert np.mean(other < 0) > 0.95
    assert np.mean(unseen < 0) > 0.9


def test_claims_stay_within_what_the_gallery_can_show(gallery):
    scorer = SourceScorer(gallery)

    extreme = scorer.llrs(np.array([[1e3, -1e3]], np.float32))

    assert extreme.tolist() == [[scorer.llr_limit, -scorer.llr_limit]]
    assert scorer.llr_limit == pytest.approx(np.log(102))


def test_a_single_image_falls_back_to_the_prior_line(centres):
    rng = np.random.default_rng(4)
    scorer = SourceScorer(gallery_from(support("a", unit_rows(rng, 1, centres[0]))))

    assert (scorer.slope, scorer.intercept) == (PRIOR_SLOPE, PRIOR_INTERCEPT)
    assert np.isfinite(scorer.llrs(np.array([[0.5]], np.float32))).all()
    assert np.isnan(scorer.false_accept_rate("a", 0.5))
    assert np.isnan(scorer.false_reject_rate("a", 0.5))


def test_no_candidate_at_all():
    photos = support("photos", unit_rows(np.random.default_rng(5), 3), SourceRole.REAL)
    scorer = SourceScorer(gallery_from(photos))

    scores = scorer.scores(photos.fingerprints)

    assert scores.shape == (3, 0)
    assert scorer.llrs(scores).shape == (3, 0)


def test_error_rates_are_counted_on_the_gallery(gallery):
    scorer = SourceScorer(gallery)

    assert scorer.false_accept_rate("a", -1.0) == 1.0
    assert scorer.false_accept_rate("a", 1.0) == 0.0
    assert scorer.false_reject_rate("a", -1.0) == 0.0
    assert scorer.false_reject_rate("a", 1.0) == 1.0


def test_identical_sources_are_never_told_apart():
    rng = np.random.default_rng(6)
    scorer = SourceScorer(
        gallery_from(support("a", unit_rows(rng, 20)), support("b", unit_rows(rng, 20)))
    )

    llrs = scorer.llrs(scorer.scores(unit_rows(rng, 200)))

    assert np.abs(llrs).max() < 1


@given(st.integers(2, 8), st.integers(2, 8), st.integers(0, 1000))
def test_llr_rises_with_the_score(count_a, count_b, seed):
    rng = np.random.default_rng(seed)
    scorer = SourceScorer(
        gallery_from(support("a", unit_rows(rng, count_a)), support("b", unit_rows(rng, count_b)))
    )
    line = np.linspace(-1, 1, 21, dtype=np.float32)

    llrs = scorer.llrs(np.stack([line, line], axis=1))

    assert np.all(np.diff(llrs, axis=0) >= 0)


@pytest.mark.parametrize(
    ("hits", "trials", "expected"),
    # scipy.stats: beta.ppf(0.975, hits + 1, trials - hits)
    [
        (0, 412, 0.0089133),
        (0, 1, 0.975),
        (3, 50, 0.1654819),
        (41, 412, 0.1325768),
        (9, 10, 0.9974714),
    ],
)
def test_what_few_hits_do_not_rule_out(hits, trials, expected):
    assert highest_rate(hits, trials) == pytest.approx(expected, abs=1e-6)


def test_hits_alone_rule_out_nothing():
    assert highest_rate(5, 5) == 1.0
