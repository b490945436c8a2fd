from __future__ import annotations

import numpy as np
import pytest

from lineup_models.pocket.world.planes import fractal_pair, ridge, sampled


def test_the_spectrum_falls_as_asked() -> None:
    power = np.zeros((256, 256))
    for seed in range(6):
        for field in fractal_pair(np.random.default_rng(seed), 256, exponent=1.0):
            power += np.abs(np.fft.fft2(field)) ** 2
    cycles = np.fft.fftfreq(256, 1 / 256)
    radius = np.hypot(cycles[:, None], cycles[None])

    near = power[(radius >= 7) & (radius < 9)].mean()
    far = power[(radius >= 63) & (radius < 65)].mean()

    # Amplitude 1/f: power falls by 8^2 over three octaves.
    assert near / far == pytest.approx(64, rel=0.2)


def test_fields_are_standardised_and_independent() -> None:
    first, second = fractal_pair(np.random.default_rng(3), 256)

    assert first.dtype == np.float32
    assert abs(float(first.mean())) < 1e-3
    assert 0.6 < float(first.std()) < 1.5
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.6


def test_sampling_at_the_pixels_gives_the_field_and_it_tiles() -> None:
    field, _ = fractal_pair(np.random.default_rng(3), 64)
    rows, columns = (ticks.astype(np.float32) / 64 for ticks in np.mgrid[:64, :64])

    np.testing.assert_allclose(sampled(field, columns, rows), field, atol=1e-5)
    np.testing.assert_allclose(sampled(field, columns + 3, rows - 2), field, atol=1e-3)


def test_a_ridge_has_unit_spread() -> None:
    heights = ridge(np.random.default_rng(1), np.linspace(0, 1, 512, dtype=np.float32))

    assert float(heights.std()) == pytest.approx(1, rel=0.25)
