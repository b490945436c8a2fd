from __future__ import annotations

import numpy as np
import pytest

from lineup.errors import UsageError
from lineup_models.fingerprint.covariance import PrincipalAxes
from lineup_models.fingerprint.whitening import CohortOptions, cohort_from_bank
from lineup_models.simulator.bank_reader import Bank

DIMENSION = 6


def bank(models: list[int]) -> Bank:
    """Two coordinates tell generators apart, the others vary within one."""
    random = np.random.default_rng(20261122)
    numbers = np.array(models, np.int32)
    clean = random.normal(0, 1, (len(models), DIMENSION))
    clean[:, 0] = 10 * numbers
    degraded = clean[:, None] + np.eye(DIMENSION)[5] * 3
    count = len(models)
    return Bank(
        header={"options": {}},
        model_ids={int(number): f"m{number}" for number in numbers if number >= 0},
        model=numbers,
        photograph=np.zeros(count, np.int32),
        crop=np.zeros(count, np.int32),
        shared=np.zeros(count, np.bool_),
        psnr_db=np.zeros(count, np.float32),
        clean=clean.astype(np.float16),
        degraded=degraded.astype(np.float16),
        degradations=np.zeros((count, 1, 5), np.float32),
    )


def test_kinds_of_variation_are_kept_apart() -> None:
    rows = cohort_from_bank(bank([0, 0, 0, 1, 1, 1, -1]), np.zeros(DIMENSION), CohortOptions())

    assert {name: len(one) for name, (one, _) in rows.items()} == {
        "within": 6,
        "between": 2,
        "degraded": 6,
    }
    assert np.abs(rows["within"][0][:, 0]).max() == 0
    np.testing.assert_allclose(rows["between"][0][:, 0], [0, 10])
    np.testing.assert_allclose(rows["degraded"][0][:, 5], 3, atol=0.01)


def test_few_images_do_not_make_a_generator_look_more_alike_than_it_is() -> None:
    """The n - 1 of the sample variance: means of two take half of the deviations away."""
    pairs = cohort_from_bank(
        bank([n for n in range(400) for _ in range(2)]),
        np.zeros(DIMENSION),
        CohortOptions(rows=800),
    )["within"]

    assert np.square(pairs[0][:, 2]).mean() == pytest.approx(1, rel=0.15)


def test_rows_are_drawn_by_the_seed() -> None:
    images = bank([n for n in range(9) for _ in range(3)])
    draws = [
        cohort_from_bank(images, np.zeros(DIMENSION), CohortOptions(rows=5, seed=seed))["within"]
        for seed in (0, 0, 1)
    ]

    assert (draws[0][0] == draws[1][0]).all()
    assert (draws[0][0] != draws[2][0]).any()


def test_a_bank_without_generators_is_refused() -> None:
    with pytest.raises(UsageError, match="no generator with at least two images"):
        cohort_from_bank(bank([-1, -1]), np.zeros(DIMENSION), CohortOptions())


def test_other_spectra_are_refused() -> None:
    with pytest.raises(UsageError, match="expected 7"):
        cohort_from_bank(bank([0, 0]), np.zeros(7), CohortOptions())


def test_a_mixture_is_the_sum_of_its_second_moments() -> None:
    random = np.random.default_rng(3)
    own, other = random.normal(size=(5, DIMENSION)), random.normal(size=(4, DIMENSION))
    gathered = PrincipalAxes(DIMENSION)
    for row in own:
        gathered.add(row)

    found = gathered.mixed([(other, 0.3)], own_weight=0.7, axes=0, floor=2.0)

    expected = 0.7 * np.cov(own.T, bias=True) + 0.3 * other.T @ other / 4
    np.testing.assert_allclose(found.mean, own.mean(axis=0))
    assert found.floor == 2.0
    np.testing.assert_allclose(
        found.axes.T @ np.diag(found.variances) @ found.axes, expected, atol=1e-6
    )
