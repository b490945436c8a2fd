from __future__ import annotations

import numpy as np
import pytest

from lineup.types import AnyArray
from lineup_models.fingerprint.covariance import PrincipalAxes


def vectors(count: int = 4000, dimension: int = 12) -> AnyArray:
    random = np.random.default_rng(4)
    mixing = random.normal(size=(dimension, dimension)) * np.linspace(3, 0.2, dimension)
    drawn: AnyArray = random.normal(size=(count, dimension)) @ mixing.T + 100.0
    return drawn


def gathered(rows: AnyArray) -> PrincipalAxes:
    found = PrincipalAxes(rows.shape[1])
    for row in rows:
        found.add(row)
    return found


@pytest.mark.parametrize("count", [6, 12, 13, 24, 100])
def test_axes_are_those_of_the_covariance(count: int) -> None:
    rows = vectors(count)

    fit = gathered(rows).found(axes=4, floor=1.0)

    covariance = np.cov(rows.T, bias=True)
    np.testing.assert_allclose(fit.mean, rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(fit.variances, np.linalg.eigvalsh(covariance)[::-1][:4], rtol=1e-9)
    np.testing.assert_allclose(
        fit.axes @ covariance @ fit.axes.T, np.diag(fit.variances), atol=1e-4
    )


@pytest.mark.parametrize("count", [8, 100])
def test_a_large_common_offset_costs_no_precision(count: int) -> None:
    rows = vectors(count)

    near, far = (gathered(rows + shift).found(axes=0, floor=3.0) for shift in (0.0, 1e7))

    np.testing.assert_allclose(near.variances, far.variances, rtol=1e-5)


def test_whitened_samples_have_unit_covariance_in_the_kept_axes() -> None:
    rows = vectors()

    fit = gathered(rows).found(axes=5, floor=1e-9)

    along = (rows - fit.mean) @ fit.axes.T / np.sqrt(fit.variances + fit.floor)
    np.testing.assert_allclose(np.cov(along.T, bias=True), np.eye(5), atol=1e-4)
    assert (np.diff(fit.variances) < 0).all()


@pytest.mark.parametrize(("count", "rank"), [(6, 5), (40, 12)])
def test_the_floor_is_the_median_of_the_variances_that_exist(count: int, rank: int) -> None:
    fit = gathered(vectors(count)).found(axes=0, floor=3.0)

    assert fit.axes.shape == (rank, 12)
    np.testing.assert_allclose(fit.floor, 3 * np.median(fit.variances), rtol=1e-9)
    np.testing.assert_allclose(fit.axes @ fit.axes.T, np.eye(rank), atol=1e-5)


def test_the_floor_does_not_depend_on_how_many_axes_are_kept() -> None:
    axes = gathered(vectors(40))

    assert axes.found(axes=2, floor=3.0).floor == axes.found(axes=0, floor=3.0).floor
