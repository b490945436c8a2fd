from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from lineup_export.fingerprint_reference import (
    _pooled,
    lattice_contrasts,
    log_spectrum,
    probe_tiles,
)
from lineup_models.fingerprint.dft import LatticeContrast
from lineup_models.fingerprint.spec import ChannelMean, ResidualFilter, SpectrumSpec
from lineup_models.fingerprint.spectrum import PooledSpectrum


def test_the_published_closed_form_is_reproduced_with_opencv() -> None:
    """METHODS: bilateral 5x5, 15, 2; log(1 + |FFT|) of the half plane, area-pooled to 96 x 48."""
    tile = probe_tiles(256)[4]
    planes = tile.astype(np.float32)
    spectra = []
    for channel in range(3):
        plane = np.ascontiguousarray(planes[..., channel])
        noise = plane - cv2.bilateralFilter(plane, 5, 15.0, 2.0)
        full = np.fft.fftshift(np.fft.fft2(noise, norm="ortho"))
        # Columns 0..128 are -128..0; the point-mirrored half plane has 0..128 in the same order.
        half = np.roll(full[::-1, ::-1], 1, axis=(0, 1))[:, 128:]
        edge = np.roll(full[::-1, ::-1], 1, axis=(0, 1))[:, :1]
        level = np.log1p(np.abs(np.concatenate([half, edge], axis=1)))
        spectra.append(cv2.resize(level, (48, 96), interpolation=cv2.INTER_AREA))
    expected = np.mean(spectra, axis=0).ravel()

    spec = SpectrumSpec(
        residual=ResidualFilter.BILATERAL, sigma_grey=15.0, channel_mean=ChannelMean.SPECTRA
    )
    found = _pooled(log_spectrum(tile, spec), spec)

    np.testing.assert_allclose(found, expected, atol=2e-3)


@pytest.mark.parametrize("residual", list(ResidualFilter))
@pytest.mark.parametrize("where", list(ChannelMean))
@pytest.mark.parametrize("window_px", [3, 7])
def test_the_torch_modules_agree_with_it_in_every_setting(
    residual: ResidualFilter, where: ChannelMean, window_px: int
) -> None:
    spec = SpectrumSpec(
        tile_size_px=32,
        residual=residual,
        channel_mean=where,
        window_px=window_px,
        pool_height=20,
        pool_width=11,
    )
    tiles = probe_tiles(32)
    module = PooledSpectrum(spec)

    levels = module.levels(torch.from_numpy(tiles))
    pooled, contrasts = module.pooled(levels).numpy(), LatticeContrast(32)(levels).numpy()

    references = [log_spectrum(tile, spec) for tile in tiles]
    expected = np.stack([_pooled(level, spec) for level in references])
    np.testing.assert_allclose(pooled, expected, atol=2e-5 * expected.max())
    expected = np.stack([lattice_contrasts(level) for level in references])
    np.testing.assert_allclose(contrasts, expected, atol=1e-4 * np.abs(expected).max())


def test_probes_repeat_and_differ() -> None:
    first = probe_tiles(32)

    np.testing.assert_array_equal(first, probe_tiles(32))
    assert first.shape == (8, 32, 32, 3)
    assert first.dtype == np.uint8
    assert len({tile.tobytes() for tile in first}) == len(first)
    assert (first.min(), first.max()) == (0, 255)
