"""The noise, beside an implementation of Philox and of the inverse normal that share no code."""

from statistics import NormalDist

import numpy as np
import pytest

from lineup.errors import UsageError
from lineup.models.noise import noise_from_seed, normal_from_uniform

MASK = 2**64 - 1


def philox_4x64(counter, key):
    """Philox4x64-10 as printed in "Parallel random numbers: as easy as 1, 2, 3", section 3.3."""
    for _ in range(10):
        high_0, low_0 = divmod(0xD2E7470EE14C6C93 * counter[0], 2**64)
        high_1, low_1 = divmod(0xCA5A826395121157 * counter[2], 2**64)
        counter = [high_1 ^ counter[1] ^ key[0], low_1, high_0 ^ counter[3] ^ key[1], low_0]
        key = [(key[0] + 0x9E3779B97F4A7C15) & MASK, (key[1] + 0xBB67AE8584CAA73B) & MASK]
    return counter


def reference(seed, count, stream):
    bits = []
    for block in range(1, count // 4 + 1):  # NumPy counts up before it draws
        bits += philox_4x64([block, 0, 0, stream], [seed, 0])
    return [NormalDist().inv_cdf(((word >> 12) + 0.5) / 2**52) for word in bits]


def test_the_reference_knows_the_published_answers():
    # Random123, kat_vectors: philox4x64-10, all zero.
    assert philox_4x64([0] * 4, [0, 0])[0] == 0x16554D9ECA36314C


@pytest.mark.parametrize(("seed", "stream"), [(0, 0), (7, 3), (2**64 - 1, 1)])
def test_noise_is_philox_through_the_inverse_normal(seed, stream):
    noise = noise_from_seed(seed, (2, 4, 16), stream=stream)

    expected = np.array(reference(seed, noise.size, stream), np.float32)
    np.testing.assert_allclose(noise.ravel(), expected, rtol=3e-7)
    assert noise.dtype == np.float32


def test_the_inverse_is_exact_over_its_whole_range():
    tails = 10.0 ** -np.arange(1, 16)
    uniform = np.concatenate([tails, 1 - tails, np.linspace(0.001, 0.999, 997), [2.0**-53]])

    expected = [NormalDist().inv_cdf(value) for value in uniform]

    np.testing.assert_allclose(normal_from_uniform(uniform), expected, rtol=1e-12, atol=1e-15)


def test_noise_is_standard_normal():
    noise = noise_from_seed(1, (200_000,)).astype(np.float64)

    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - 1) < 0.01
    assert abs((noise**4).mean() - 3) < 0.1


def test_a_longer_array_starts_with_the_shorter():
    assert (noise_from_seed(5, (64,))[:12] == noise_from_seed(5, (12,))).all()


def test_seeds_and_streams_are_independent():
    draws = [noise_from_seed(seed, (5000,), stream=s) for seed in (1, 2) for s in (0, 1)]

    assert np.abs(np.corrcoef(draws) - np.eye(4)).max() < 0.06


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_out_of_range(seed):
    with pytest.raises(UsageError, match=str(seed)):
        noise_from_seed(seed, (1,))
