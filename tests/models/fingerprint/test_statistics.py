"""Statistics of tiles, on images whose statistics are known."""

import numpy as np
import pytest
import torch

from lineup.errors import UsageError
from lineup_models.fingerprint.real_head import TileStatistics, check_spec
from lineup_models.fingerprint.spec import ChannelMean, SpectrumSpec

SIZE = 32


def statistics(pixels, residuals=None):
    planes = torch.as_tensor(np.asarray(pixels, np.float32)).permute(2, 0, 1)[None]
    noises = (
        planes if residuals is None else torch.as_tensor(np.asarray(residuals, np.float32))[None]
    )
    return TileStatistics()(planes, [noises[:, channel : channel + 1] for channel in range(3)])[0]


def test_a_ramp_has_first_differences_only_and_no_colour():
    ramp = np.broadcast_to(2.0 * np.arange(SIZE)[:, None, None], (SIZE, SIZE, 3))
    found = statistics(ramp)

    assert found.shape == (21,)
    np.testing.assert_allclose(found[:4], np.log([4.05, 0.05, 0.05, 0.05]), rtol=1e-4)
    np.testing.assert_allclose(found[4:12], np.log(0.05), rtol=1e-4)


def test_edges_saturate():
    stripes = np.zeros((SIZE, SIZE, 3))
    stripes[::2] = 255

    np.testing.assert_allclose(statistics(stripes)[0], np.log(900.05), rtol=1e-5)


def test_variances_and_correlations_of_residuals():
    random = np.random.default_rng(0)
    shared, own = random.normal(0, 2, (2, SIZE, SIZE))
    found = statistics(np.zeros((SIZE, SIZE, 3)), [shared, shared, own])
    power = np.mean(shared**2)

    np.testing.assert_allclose(found[12:14], np.log(power + 0.01), rtol=1e-4)
    np.testing.assert_allclose(found[16], np.log(0.01), rtol=1e-4)  # red minus green: nothing
    np.testing.assert_allclose(found[18], 1, atol=1e-3)
    assert abs(float(found[19])) < 0.2


def test_a_grey_spectrum_cannot_tell():
    with pytest.raises(UsageError, match="residual per channel"):
        check_spec(SpectrumSpec(channel_mean=ChannelMean.PIXELS))
