"""The head that tells photographs from generated images: its bounds and its order."""

import numpy as np
import torch

from lineup_models.fingerprint.real_head import RealHead, RealWeights


def head(**changes):
    settings = {
        "mean": np.array([1.0, 0.0]),
        "deviation": np.array([2.0, 1.0]),
        "weights": np.array([3.0, 0.0]),
        "bias": 0.0,
    }
    return RealHead(RealWeights(**{**settings, **changes}))


def llrs(model, *values):
    statistics = torch.tensor([[value, 0.0] for value in values])
    return model(statistics, torch.eye(len(values))).numpy()


def test_claims_are_bounded_by_what_cannot_be_known():
    found = llrs(head(traceless=0.5, odd=0.05), -1000.0, 1000.0)

    np.testing.assert_allclose(found, np.log([0.95 / 0.5, 0.05 / 0.5]), rtol=1e-4)


def test_claims_fall_with_the_odds_of_generated_and_are_even_where_those_are():
    found = llrs(head(), 0.2, 0.6, 1.0, 1.4, 1.8)

    assert (np.diff(found) < 0).all()
    assert abs(found[2]) < 1e-6


def test_without_doubt_the_claim_is_the_regression():
    found = llrs(head(traceless=0.0, odd=0.0), 2.0)

    np.testing.assert_allclose(found, [-1.5], rtol=1e-5)


def test_tiles_are_averaged_before_the_bounds():
    statistics = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    found = head()(statistics, torch.tensor([[0.5, 0.5]]))

    assert abs(float(found[0])) < 1e-6
