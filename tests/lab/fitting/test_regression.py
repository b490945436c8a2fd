from __future__ import annotations

import numpy as np
import pytest

from lineup.classifier import log_softmax
from lineup_lab.fitting.regression import fit_logistic


@pytest.fixture
def problem():
    """Three unbalanced, overlapping classes in more dimensions than there are images."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), [8, 20, 12])
    rows = rng.normal(size=(40, 60)) + 0.8 * np.eye(3, 60)[labels]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), labels


@pytest.mark.parametrize("ridge", [0.1, 0.003])
def test_fit_equals_that_of_scikit_learn(problem, ridge):
    linear_model = pytest.importorskip(
        "sklearn.linear_model", reason="scikit-learn is the reference"
    )
    rows, labels = problem
    # Its loss is sum_i s_i nll_i + |W|^2 / (2 C): C = 1 / ridge where the weights sum to 1.
    sample_weights = 1 / (3 * np.bincount(labels)[labels])
    reference = linear_model.LogisticRegression(C=1 / ridge, tol=1e-10, max_iter=10_000)
    reference.fit(rows, labels, sample_weight=sample_weights)

    fit = fit_logistic(rows, labels, 3, ridge=ridge)

    assert fit.converged
    np.testing.assert_allclose(fit.weights, reference.coef_, atol=2e-3)
    probabilities = np.exp(log_softmax(rows @ fit.weights.T + fit.bias))
    np.testing.assert_allclose(probabilities, reference.predict_proba(rows), atol=1e-3)


def test_gradient_is_nil_at_the_minimum(problem):
    rows, labels = problem
    fit = fit_logistic(rows, labels, 3, ridge=0.01)

    def loss(weights: np.ndarray, bias: np.ndarray) -> float:
        picked = log_softmax(rows @ weights.T + bias)[np.arange(40), labels]
        return float(
            -np.mean([picked[labels == k].mean() for k in range(3)]) + 0.01 / 2 * (weights**2).sum()
        )

    best = loss(fit.weights, fit.bias)
    assert best == pytest.approx(fit.loss)
    rng = np.random.default_rng(1)
    for _ in range(20):
        nudge = 1e-2 * rng.normal(size=fit.weights.shape)
        assert loss(fit.weights + nudge, fit.bias + nudge[:, 0]) > best


def test_biases_of_balanced_classes_do_not_follow_their_sizes():
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(1010, 5)) * 1e-3

    fit = fit_logistic(rows, np.repeat([0, 1], [1000, 10]), 2, ridge=1.0)

    assert np.abs(fit.bias).max() < 0.01


def test_large_problem_takes_seconds_and_converges():
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(6), 100)
    rows = rng.normal(size=(600, 2000)) / np.sqrt(2000)
    rows[np.arange(600), labels] += 0.2

    fit = fit_logistic(rows, labels, 6, ridge=0.003)

    assert fit.converged
    assert fit.steps < 100


def test_log_softmax_neither_overflows_nor_loses_small_probabilities():
    logs = log_softmax(np.array([[1e4, 0.0], [0.0, -800.0]]))

    np.testing.assert_allclose(logs, [[0.0, -1e4], [0.0, -800.0]])
