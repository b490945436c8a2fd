from __future__ import annotations

import numpy as np
import pytest

from lineup.gallery.whitening import WHITENED_AXES, whitening_from_photographs

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
