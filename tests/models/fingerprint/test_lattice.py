from __future__ import annotations

import numpy as np
import pytest
import torch

from lineup_models.fingerprint.dft import POINTS, LatticeContrast
from lineup_models.fingerprint.spec import SpectrumSpec
from lineup_models.fingerprint.spectrum import PooledSpectrum

SIZE = 64


def contrasts(image: np.ndarray) -> np.ndarray:
    """Contrasts of a grey uint8 image, (9, 9)."""
    spec = SpectrumSpec(tile_size_px=SIZE, pool_height=16, pool_width=8)
    pixels = np.repeat(image[None, ..., None], 3, axis=3)
    levels = PooledSpectrum(spec).levels(torch.from_numpy(pixels))
    return LatticeContrast(SIZE)(levels).numpy().reshape(POINTS, POINTS)


def texture(seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(128, 3, (SIZE, SIZE))
    return np.clip(np.rint(noise), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("period", [2, 4, 8])
def test_a_repeated_pattern_shows_at_its_frequency_and_its_multiples(period: int) -> None:
    image = texture()
    image[::period, ::period] += 12

    found = contrasts(image) - contrasts(texture())

    step = 16 // period
    assert found[::step, ::step].ravel()[1:].min() > 0.2
    if period < 8:
        off = found.copy()
        off[::step, ::step] = 0
        assert np.abs(off).max() < found[step, step]


def test_a_mirrored_image_has_the_same() -> None:
    image = texture(1)

    np.testing.assert_allclose(contrasts(image[:, ::-1]), contrasts(image), atol=1e-3)
    np.testing.assert_allclose(contrasts(image[::-1]), contrasts(image), atol=1e-3)


def test_a_flat_spectrum_has_none() -> None:
    flat = torch.ones(2, SIZE + 2, SIZE // 2 + 1)

    assert LatticeContrast(SIZE)(flat).abs().max() < 1e-6
