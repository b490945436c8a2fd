from __future__ import annotations

import numpy as np
import pytest

from lineup.gallery.comparing import (
    WHITENED_AXES,
    Comparison,
    Images,
    whitening_from_photographs,
)
from lineup.gallery.gallery import Gallery, SourceRole, SupportSet

DIMENSION = 64


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def photographs():
    """What is in a picture moves the first eight numbers far more than the others move."""
    draw = np.random.default_rng(0)
    spread = np.where(np.arange(DIMENSION) < 8, 1.0, 0.1)
    return unit(1 + draw.normal(size=(300, DIMENSION)) * spread)


def test_what_photographs_differ_in_counts_less_than_what_they_have_in_common(photographs):
    whiten = whitening_from_photographs(photographs)
    content, other = np.zeros((2, DIMENSION), np.float32)
    content[0], other[-1] = 0.1, 0.1
    query = photographs[:1]
    away_in_content = whiten(query) @ whiten(query + content).T
    away_in_other = whiten(query) @ whiten(query + other).T
    assert away_in_content > away_in_other
    assert len(whiten.gains) == WHITENED_AXES
    np.testing.assert_allclose(np.linalg.norm(whiten(photographs), axis=1), 1, rtol=1e-5)


def test_the_widest_axes_shrink_most_and_none_is_turned_round(photographs):
    gains = whitening_from_photographs(photographs).gains
    assert gains.max() < 1
    assert gains.min() > 0
    assert (np.diff(gains) <= 0).all()


@pytest.mark.parametrize("count", [40, 300])  # fewer than numbers, and more
def test_the_axes_are_the_principal_ones(photographs, count):
    rows = photographs[:count]
    whiten = whitening_from_photographs(rows)
    _, lengths, axes = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    variances = lengths**2 / count
    floor = 3 * np.median(variances)
    gains = 1 - np.sqrt(floor / (variances + floor))
    np.testing.assert_allclose(whiten.gains, gains[:WHITENED_AXES], atol=1e-5)
    agreement = np.abs((whiten.axes * axes[:WHITENED_AXES]).sum(axis=1))
    np.testing.assert_allclose(agreement, 1, atol=1e-3)


def test_one_row_is_whitened_as_many_are(photographs):
    whiten = whitening_from_photographs(photographs)
    together = whiten(photographs)
    np.testing.assert_allclose(whiten(photographs[5:6])[0], together[5], atol=1e-6)


def test_a_few_photographs_do_not_show_what_to_take_away(photographs):
    whiten = whitening_from_photographs(photographs[: 2 * WHITENED_AXES - 1])
    np.testing.assert_allclose(whiten(photographs), photographs, atol=1e-6)


def compared(cosines):
    """Return a gallery of one source whose images have such cosines with (1, 0), and its scores."""
    angles = np.arccos(cosines)
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    same = np.tile(np.array([[1.0, 0.0]], np.float32), (len(rows), 1))
    views = {"clean/embeddings-x": rows.astype(np.float16)}
    ids = tuple(f"{number:064x}" for number in range(len(rows)))
    source = SupportSet("a", SourceRole.CANDIDATE, same, ids, "", views)
    return Comparison(Gallery("digest", {"a": source}), "embeddings-x"), source


def z_score(cosines, nearest):
    """Return by how much a query scores higher than its nearest cosines' mean would, which is 0."""
    comparison, _ = compared(cosines)
    query = np.array([[1.0, 0.0]], np.float32)
    z = comparison.fits(Images(query, np.ones(1, np.float32), query)).together[0, 0]
    lone, _ = compared([nearest])
    return z - lone.fits(Images(query, np.ones(1, np.float32), query)).together[0, 0]


@pytest.mark.parametrize(
    ("cosines", "nearest"),
    [
        ([0.9, 0.1, 0.8, 0.7, -0.5], 0.8),  # the three nearest of five
        ([0.9, 0.5], 0.7),  # of two, both
    ],
)
def test_embeddings_are_compared_with_the_three_nearest(cosines, nearest):
    assert z_score(cosines, nearest) == pytest.approx(0, abs=0.1)


def test_an_image_of_the_support_is_not_among_its_own_nearest():
    comparison, source = compared([1.0, 0.6, 0.2])
    images = comparison.seen(source, "clean")
    alone = comparison.fits(images, own=0).together[0, 0]
    with_itself = comparison.fits(images).together[0, 0]
    step = (1 + 0.6 + 0.2) / 3 - (0.6 + 0.2) / 2
    deviation = 0.03  # where the gallery has no others to tell
    assert with_itself - alone == pytest.approx(2 * step / deviation, rel=0.01)


def test_photographs_that_went_through_no_channel_judge_as_they_are():
    """With nobody to judge by, what is like a photograph would be like the source, by far."""
    draw = np.random.default_rng(0)

    def support(name, role, *channels):
        rows = unit(1 + draw.normal(size=(30, DIMENSION)))
        ids = tuple(f"{number:064x}" for number in range(len(rows)))
        views = {
            f"{channel}/{what}": rows.astype(np.float16)
            for channel in channels
            for what in ("fingerprints", "embeddings-x")
            if (channel, what) != ("clean", "fingerprints")
        }
        return SupportSet(name, role, rows, ids, "", views)

    photographs = support("real", SourceRole.REAL, "clean")
    source = support("a", SourceRole.CANDIDATE, "clean", "jpeg:70")
    comparison = Comparison(Gallery("digest", {"a": source, "real": photographs}), "embeddings-x")

    together = comparison.fits(comparison.seen(photographs, "clean")).together

    assert np.median(together) < 3
