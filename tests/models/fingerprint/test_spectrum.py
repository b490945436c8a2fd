from __future__ import annotations

import numpy as np
import pytest
import torch

from lineup_models.fingerprint.checkpoint import Whitening
from lineup_models.fingerprint.spec import LATTICE_DIMENSION, ChannelMean, SpectrumSpec
from lineup_models.fingerprint.spectrum import PooledSpectrum, WhitenedSpectrum

SPEC = SpectrumSpec(tile_size_px=32, pool_height=12, pool_width=6)


def whitening(axes: int = 20) -> Whitening:
    random = np.random.default_rng(5)
    orthonormal, _ = np.linalg.qr(random.normal(size=(SPEC.dimension, axes)))
    return Whitening(
        mean=random.uniform(0, 1, SPEC.dimension),
        axes=np.ascontiguousarray(orthonormal.T, dtype=np.float32),
        variances=np.linspace(9, 1, axes),
        floor=0.5,
        lattice_mean=random.normal(0, 0.1, LATTICE_DIMENSION),
        lattice_deviation=random.uniform(0.1, 0.4, LATTICE_DIMENSION),
    )


def tiles(count: int) -> torch.Tensor:
    random = np.random.default_rng(6)
    return torch.from_numpy(random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8))


def test_images_are_independent_of_what_shares_their_batch() -> None:
    module = WhitenedSpectrum(SPEC, whitening())
    pixels = tiles(4)
    alone = module(pixels[1:3], torch.full((1, 2), 0.5))

    together = module(pixels, torch.tensor([[1.0, 0, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 1.0]]))

    torch.testing.assert_close(together[1:2], alone, rtol=0, atol=1e-6)


def test_rows_have_length_one() -> None:
    found = WhitenedSpectrum(SPEC, whitening())(tiles(3), torch.eye(3))

    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))


def test_tiles_are_averaged_before_whitening() -> None:
    pixels, fit = tiles(3), whitening()
    mean = PooledSpectrum(SPEC)(pixels).mean(0).numpy().astype(np.float64)

    found = WhitenedSpectrum(SPEC, fit)(pixels, torch.full((1, 3), 1 / 3))[0].numpy()

    deviation = mean - fit.mean
    along = fit.axes @ deviation
    z = (along / np.sqrt(fit.variances + fit.floor)) @ fit.axes
    z += (deviation - along @ fit.axes) / np.sqrt(fit.floor)
    z /= np.linalg.norm(z) * np.hypot(1, SPEC.lattice_weight)
    np.testing.assert_allclose(found[: SPEC.dimension], z, atol=1e-6)


def test_lattice_contrasts_have_the_length_that_is_asked_for() -> None:
    found = WhitenedSpectrum(SPEC, whitening())(tiles(3), torch.eye(3))

    assert found.shape == (3, SPEC.dimension + LATTICE_DIMENSION)
    spectrum, lattice = found.split([SPEC.dimension, LATTICE_DIMENSION], dim=1)
    torch.testing.assert_close(
        lattice.norm(dim=1) / spectrum.norm(dim=1), torch.full((3,), SPEC.lattice_weight)
    )


@pytest.mark.parametrize("where", list(ChannelMean))
def test_a_grey_image_has_one_spectrum_wherever_channels_become_one(where: ChannelMean) -> None:
    grey = tiles(2)[..., :1].expand(-1, -1, -1, 3).contiguous()
    spec = SpectrumSpec(tile_size_px=32, pool_height=12, pool_width=6, channel_mean=where)

    torch.testing.assert_close(
        PooledSpectrum(spec)(grey), PooledSpectrum(SPEC)(grey), rtol=1e-4, atol=1e-4
    )
