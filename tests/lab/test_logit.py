import numpy as np
import pytest
from scipy.special import log_softmax

from lineup_lab.fit_ratios import fit_choices


def binary(values, matches):
    design = np.zeros((len(values), 2, 2))
    design[:, 0] = np.stack([np.ones_like(values), values], axis=1)
    truth = np.where(matches, 0, 1)
    return design, np.zeros((len(values), 2)), truth, np.ones(len(values))


def ridge(strength, *, nonnegative=False):
    return {
        "centre": np.zeros(2),
        "strength": np.full(2, strength),
        "nonnegative": np.array([False, nonnegative]),
    }


def test_two_labels_are_the_logistic_regression_of_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    values = rng.normal(size=200)
    matches = rng.random(200) < 1 / (1 + np.exp(-(1.5 * values - 0.5)))

    parameters = fit_choices(*binary(values, matches), **ridge(1e-9))

    reference = linear_model.LogisticRegression(C=1e9, tol=1e-10, max_iter=1000)
    reference.fit(values[:, None], matches)
    assert parameters[0] == pytest.approx(reference.intercept_[0], abs=1e-4)
    assert parameters[1] == pytest.approx(reference.coef_[0, 0], abs=1e-4)


def test_the_gradient_vanishes_at_the_minimum_of_many_labels():
    rng = np.random.default_rng(1)
    design = rng.normal(size=(60, 4, 3))
    offsets = rng.normal(size=(60, 4))
    offsets[::3, 2] = -np.inf
    truth = np.where(np.arange(60) % 3 == 0, 0, rng.integers(0, 4, 60))
    weights = rng.random(60) + 0.1
    centre = np.array([1.0, 0.0, -1.0])
    pull = {"centre": centre, "strength": np.full(3, 0.5), "nonnegative": np.zeros(3, bool)}

    best = fit_choices(design, offsets, truth, weights, **pull)

    def loss(parameters):
        logs = log_softmax(offsets + design @ parameters, axis=1)
        picked = logs[np.arange(60), truth]
        return 0.25 * np.square(parameters - centre).sum() - weights @ picked

    for step in np.eye(3) * 1e-4:
        assert loss(best) <= loss(best + step)
        assert loss(best) <= loss(best - step)


def test_a_sign_is_kept_where_the_data_ask_for_the_other():
    values = np.linspace(-1, 1, 50)
    falling = binary(values, values < 0)

    assert fit_choices(*falling, **ridge(0.1))[1] < 0
    assert fit_choices(*falling, **ridge(0.1, nonnegative=True))[1] == 0.0


def test_separable_classes_end_at_a_finite_slope():
    values = np.array([-2.0, -1.0, 1.0, 2.0])

    slope = fit_choices(*binary(values, values > 0), **ridge(0.5))[1]

    assert 0.5 < slope < 5.0
