import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineup.gallery.channel_comparing import PRIOR_DEVIATION, PRIOR_IMAGES, Images
from lineup.gallery.comparing import Comparison
from lineup.gallery.gallery import Gallery
from lineup.gallery.scoring import PRIOR_FIT, PRIOR_REST, SourceScorer, _auc, highest_rate
from lineup.gallery.support import SourceRole, SupportSet

DIMENSION = 64


def unit_rows(rng, count, centre=None, spread=1.0):
    rows = rng.normal(0, spread, (count, DIMENSION))
    if centre is not None:
        rows += centre
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def half_rows(rng, count, centre):
    return unit_rows(rng, count, centre).astype(np.float16)


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


def images(rows):
    return Images(rows, np.ones(len(rows), np.float32))


def llrs(scorer, rows):
    """Ratios of some images, one by one, (images, candidates)."""
    return np.array([scorer.judgement(images(row[None])).llrs for row in rows])


def test_scores_are_deviations_above_photographs(gallery):
    query = unit_rows(np.random.default_rng(2), 1)
    photographs = gallery.sources["photos"].fingerprints

    found = Comparison(gallery).fits(images(query))

    for column, name in enumerate(("a", "b")):
        mean = gallery.sources[name].fingerprints.mean(axis=0)
        null = photographs @ mean
        squares = np.square(null - null.mean()).sum() + PRIOR_IMAGES * PRIOR_DEVIATION**2
        deviation = np.sqrt(squares / (40 + PRIOR_IMAGES))
        expected = (query @ mean - null.mean()) / deviation
        np.testing.assert_allclose(found.z[0, column, 0], expected, rtol=1e-4)
    np.testing.assert_allclose(found.together, found.z.sum(axis=2))
    assert SourceScorer(gallery).judgement(images(query)).channels == ("clean", "clean")


@pytest.mark.parametrize("count", [2, 4, 9])
def test_an_image_is_not_compared_with_itself(count):
    rng = np.random.default_rng(7)
    rows, photographs = unit_rows(rng, count), support("p", unit_rows(rng, 9), SourceRole.REAL)
    whole = Comparison(gallery_from(support("a", rows), photographs))
    found = whole.own_fits[0].z[:, 0, 0]

    # The null is that of the whole support: the numerator alone leaves the image out.
    mean = rows.mean(axis=0)
    null = photographs.fingerprints @ mean
    squares = np.square(null - null.mean()).sum() + PRIOR_IMAGES * PRIOR_DEVIATION**2
    deviation = np.sqrt(squares / (9 + PRIOR_IMAGES))
    raw = [rows[row] @ np.delete(rows, row, axis=0).mean(axis=0) for row in range(count)]
    np.testing.assert_allclose(found, (raw - null.mean()) / deviation, rtol=1e-4)


def test_each_part_of_a_fingerprint_is_compared_by_itself(centres):
    rng = np.random.default_rng(12)
    parts = (DIMENSION - 8, 8)

    def rows(count, spectrum, texture):
        found = rng.normal(0, 1, (count, DIMENSION))
        found[:, : parts[0]] += spectrum
        found[:, parts[0] :] += texture
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)

    known = gallery_from(
        support("a", rows(30, 1.0, 1.0)),
        support("b", rows(30, 1.0, -1.0)),
        support("photos", rows(40, 0.0, 0.0), SourceRole.REAL),
    )
    query = images(rows(20, 1.0, 1.0))

    spectrum, texture, _ = np.moveaxis(Comparison(known, parts=parts).fits(query).z, 2, 0)
    _, whole = np.moveaxis(Comparison(known).fits(query).z, 2, 0)

    np.testing.assert_allclose(spectrum[:, 0].mean(), spectrum[:, 1].mean(), rtol=0.2)
    assert np.median(texture[:, 0] - texture[:, 1]) > 3, "which the spectrum does not tell"
    assert whole.shape == texture.shape


def test_a_query_is_compared_with_its_like(centres):
    rng = np.random.default_rng(8)
    handled = rng.normal(0, 1, (3, DIMENSION))  # what a channel makes of each

    def seen(name, number, count, role=SourceRole.CANDIDATE):
        plain = support(name, unit_rows(rng, count, centres[number]), role)
        rows = unit_rows(rng, count, handled[number])
        half = rows.astype(np.float16)
        views = {"jpeg:70/fingerprints": half, "drawn/fingerprints": half}
        return dataclasses.replace(plain, views=views)

    gallery = gallery_from(
        seen("a", 0, 30), seen("b", 1, 30), seen("photos", 2, 60, SourceRole.REAL)
    )
    query = images(unit_rows(rng, 1, handled[1]))

    found = SourceScorer(gallery).judgement(query)

    assert found.channels[1] == "jpeg:70"
    assert found.llrs[1] > 0 > found.llrs[0]
    only_clean = {name: dataclasses.replace(one, views={}) for name, one in gallery.sources.items()}
    assert SourceScorer(Gallery("digest", only_clean)).judgement(query).llrs[1] < 0


def test_an_image_that_deviates_more_counts_for_more(gallery, centres):
    row = unit_rows(np.random.default_rng(3), 1, centres[0])
    scorer = SourceScorer(gallery)

    weak, strong = (scorer.judgement(Images(row, np.array([s], np.float32))) for s in (1, 4))

    assert strong.scores[0] > 1.5 * weak.scores[0]


def test_embeddings_join_where_a_source_has_them(gallery, centres):
    rng = np.random.default_rng(9)
    embedded = {
        name: dataclasses.replace(
            one, views={"clean/e": unit_rows(rng, len(one), centres[at]).astype(np.float16)}
        )
        for at, (name, one) in enumerate(gallery.sources.items())
    }
    query = images(unit_rows(rng, 1))
    both = Images(query.fingerprints, query.strengths, unit_rows(rng, 1, centres[0]))

    alone = SourceScorer(gallery).judgement(query).llrs
    found = SourceScorer(Gallery("digest", embedded), "e").judgement(both).llrs

    assert found[0] > alone[0]
    embedded["b"] = gallery.sources["b"]
    assert SourceScorer(Gallery("digest", embedded), "e").names == ("a",)


def test_what_is_like_another_generator_is_less_like_the_only_source(centres):
    """In a gallery of one source, whatever is no photograph is most like that one."""
    rng = np.random.default_rng(10)
    like_it = centres[0] + 2 * rng.normal(0, 1, DIMENSION)

    def drawn(count, centre):
        return unit_rows(rng, count, centre, spread=2.0)

    alone = gallery_from(
        support("a", drawn(30, centres[0])),
        support("photos", unit_rows(rng, 40), SourceRole.REAL),
    )
    others = (support("b", drawn(30, centres[1])), support("c", drawn(30, like_it)))
    beside = dataclasses.replace(alone, others=others)
    foreign, own = drawn(50, like_it), drawn(50, centres[0])

    lone, scorer = SourceScorer(alone), SourceScorer(beside)

    assert scorer.names == lone.names == ("a",)
    assert llrs(scorer, foreign).shape == (50, 1)
    assert np.median(llrs(lone, foreign)) > 2
    assert np.median(llrs(scorer, foreign)) < 0.5
    assert np.median(llrs(scorer, own)) > 1
    assert scorer.others("a") == (30 + 30 + 40, 3)
    assert beside.digest != alone.digest


def test_a_family_names_candidates_alone(centres):
    rng = np.random.default_rng(11)
    a, twin = (support(name, unit_rows(rng, 60, centres[0])) for name in ("a", "twin"))
    b = support("b", unit_rows(rng, 30, centres[1]))
    photographs = support("photos", unit_rows(rng, 40), SourceRole.REAL)
    query = unit_rows(rng, 20, centres[0])
    assert SourceScorer(gallery_from(a, twin, b, photographs)).families == (("a", "twin"),)

    hidden = SourceScorer(dataclasses.replace(gallery_from(a, b, photographs), others=(twin,)))

    assert hidden.families == ()
    assert llrs(hidden, query)[:, 0].min() > 1  # which is no rival of its own family


def test_photographs_are_no_candidate(gallery):
    assert SourceScorer(gallery).names == ("a", "b")


def test_llr_is_positive_for_the_source_and_negative_for_others(gallery, centres):
    rng = np.random.default_rng(3)
    scorer = SourceScorer(gallery)

    own = llrs(scorer, unit_rows(rng, 50, centres[0]))[:, 0]
    other = llrs(scorer, unit_rows(rng, 50, centres[1]))[:, 0]
    unseen = llrs(scorer, unit_rows(rng, 50, centres[2]))[:, 0]

    assert np.mean(own > 0) > 0.95
    assert np.mean(other < 0) > 0.95
    assert np.mean(unseen < 0) > 0.9


def test_claims_stay_within_what_the_gallery_can_show(gallery, centres):
    scorer = SourceScorer(gallery)
    query = unit_rows(np.random.default_rng(3), 1, centres[0])

    extreme = scorer.judgement(Images(query, np.array([1e6], np.float32)))

    assert extreme.llrs.tolist() == [scorer.llr_limit, -scorer.llr_limit]
    assert scorer.llr_limit == pytest.approx(np.log(102))


def test_a_single_image_falls_back_to_the_prior_line(centres):
    rng = np.random.default_rng(4)
    rows = unit_rows(rng, 1, centres[0])
    scorer = SourceScorer(gallery_from(support("a", rows)))

    assert scorer.line == (PRIOR_FIT, PRIOR_FIT, *PRIOR_REST)
    assert np.isfinite(llrs(scorer, rows)).all()
    assert np.isnan(scorer.false_accept_rate("a", 0.5))
    assert np.isnan(scorer.false_reject_rate("a", 0.5))
    assert scorer.others("a") == (0, 0)


def test_five_images_claim_less_than_fifty(centres):
    rng = np.random.default_rng(4)
    rows = unit_rows(rng, 50, centres[0])
    others = [
        support("b", unit_rows(rng, 30, centres[1])),
        support("photos", unit_rows(rng, 40), SourceRole.REAL),
    ]
    query = unit_rows(rng, 1, centres[0], spread=1.5)

    few, many = (
        SourceScorer(gallery_from(support("a", rows[:count]), *others)) for count in (5, 50)
    )

    assert llrs(few, query)[0, 0] < llrs(many, query)[0, 0]


def test_no_candidate_at_all():
    photos = support("photos", unit_rows(np.random.default_rng(5), 3), SourceRole.REAL)
    scorer = SourceScorer(gallery_from(photos))

    found = scorer.judgement(images(photos.fingerprints[:1]))

    assert (len(found.scores), len(found.llrs), found.channels) == (0, 0, ())


def test_error_rates_are_counted_on_the_gallery(gallery):
    scorer = SourceScorer(gallery)

    assert scorer.others("a") == (70, 2)
    assert scorer.false_accept_rate("a", -100) == 1.0
    assert scorer.false_accept_rate("a", 100) == 0.0
    assert scorer.false_reject_rate("a", -100) == 0.0
    assert scorer.false_reject_rate("a", 100) == 1.0


def test_an_image_with_the_very_same_ratio_is_accepted(gallery):
    scorer = SourceScorer(gallery)
    scorer.llr_limit = 0.0  # so that every image has the ratio 0

    assert scorer.false_accept_rate("a", 0.0) == 1.0
    assert scorer.false_reject_rate("a", 0.0) == 0.0


def test_identical_sources_are_never_told_apart():
    rng = np.random.default_rng(6)
    scorer = SourceScorer(
        gallery_from(
            support("a", unit_rows(rng, 20)),
            support("b", unit_rows(rng, 20)),
            support("photos", unit_rows(rng, 40), SourceRole.REAL),
        )
    )

    assert np.mean(llrs(scorer, unit_rows(rng, 200)) > np.log(2)) < 0.05


def test_sources_that_look_alike_are_a_family(centres):
    rng = np.random.default_rng(6)
    scorer = SourceScorer(
        gallery_from(
            *(support(name, unit_rows(rng, 20, centres[0])) for name in ("a", "c", "d")),
            support("b", unit_rows(rng, 20, centres[1])),
            support("few", unit_rows(rng, 3, centres[0])),
        )
    )

    assert scorer.families == (("a", "c", "d"),)


def test_a_sibling_in_the_gallery_takes_no_image_from_its_family(centres):
    rng = np.random.default_rng(11)
    own, sibling = (support(name, unit_rows(rng, 60, centres[0])) for name in ("a", "c"))
    others = (
        support("b", unit_rows(rng, 30, centres[1])),
        support("photos", unit_rows(rng, 40), SourceRole.REAL),
    )
    queries = unit_rows(rng, 20, 1.2 * centres[0])

    alone = llrs(SourceScorer(gallery_from(own, *others)), queries)[:, 0]
    scorer = SourceScorer(gallery_from(own, sibling, *others))
    both = llrs(scorer, queries)

    assert (scorer.names, scorer.families) == (("a", "b", "c"), (("a", "c"),))
    np.testing.assert_allclose(both[:, [0, 2]], np.stack([alone, alone], axis=1), atol=1.5)
    assert both[:, [0, 2]].min() > 1 > both[:, 1].max()


def test_how_often_one_exceeds_another_counts_a_tie_as_half():
    few, rising = np.array([1.0, 2.0]), np.array([0.0, 1.0, 2.0, 3.0])

    assert _auc(rising, rising) == 0.5
    assert _auc(few + 9, rising) == 1.0
    assert _auc(few, rising) + _auc(rising, few) == 1.0


@given(st.integers(2, 8), st.integers(2, 8), st.integers(0, 1000))
def test_llr_rises_with_the_score(count_a, count_b, seed):
    rng = np.random.default_rng(seed)
    a = unit_rows(rng, count_a)
    scorer = SourceScorer(gallery_from(support("a", a), support("b", unit_rows(rng, count_b))))
    towards, away = a.mean(axis=0), unit_rows(rng, 1)[0]
    steps = np.linspace(0, 1, 9)[:, None] * towards + np.linspace(1, 0, 9)[:, None] * away
    line = (steps / np.linalg.norm(steps, axis=1, keepdims=True)).astype(np.float32)
    found = [scorer.judgement(images(row[None])) for row in line]

    both = [(one.scores[0], one.scores[0] - one.scores[1], one.llrs[0]) for one in found]
    for score, margin, llr in both:
        assert all(llr >= less for low, near, less in both if low <= score and near <= margin)


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
