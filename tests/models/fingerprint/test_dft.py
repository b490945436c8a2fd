from __future__ import annotations

import numpy as np
import pytest
import torch

from lineup_models.fingerprint.dft import HalfPlaneMagnitude, row_frequencies


@pytest.mark.parametrize("size", [8, 32, 256])
def test_magnitudes_are_those_of_the_fft(size: int) -> None:
    image = np.random.default_rng(0).normal(0, 20, (2, size, size))

    found = HalfPlaneMagnitude(size)(torch.from_numpy(image.astype(np.float32))).numpy()

    expected = np.abs(np.fft.rfft2(image, norm="ortho"))
    for row, frequency in enumerate(row_frequencies(size)):
        # rfft2 has negative row frequencies at the end, where Python's index finds them too.
        if frequency is not None:
            np.testing.assert_allclose(
                found[:, row], expected[:, frequency], rtol=0, atol=2e-6 * expected.max()
            )


def test_each_frequency_is_named_once() -> None:
    frequencies = [k for k in row_frequencies(16) if k is not None]

    assert sorted(frequencies) == list(range(-8, 8))
    assert len(row_frequencies(16)) == 18


def test_a_single_wave_lands_on_its_frequency() -> None:
    y, x = np.mgrid[0:16, 0:16]
    wave = np.cos(2 * np.pi * (3 * x - 5 * y) / 16).astype(np.float32)

    magnitude = HalfPlaneMagnitude(16)(torch.from_numpy(wave)[None])[0].numpy()

    row, column = np.unravel_index(magnitude.argmax(), magnitude.shape)
    assert (row_frequencies(16)[row], column) == (-5, 3)
