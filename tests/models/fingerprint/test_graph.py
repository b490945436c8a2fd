from __future__ import annotations

import numpy as np
import torch

from lineup_models.fingerprint.covariance import FoundAxes
from lineup_models.fingerprint.graph import Fingerprint, TileFeatures
from lineup_models.fingerprint.spec import SpectrumSpec

SPEC = SpectrumSpec(tile_size_px=32, pool_height=12, pool_width=6)


def whitening(axes: int = 20) -> FoundAxes:
    random = np.random.default_rng(5)
    orthonormal, _ = np.linalg.qr(random.normal(size=(SPEC.fingerprint_dimension, axes)))
    return FoundAxes(
        mean=random.uniform(0, 1, SPEC.fingerprint_dimension),
        axes=np.ascontiguousarray(orthonormal.T, dtype=np.float32),
        variances=np.linspace(9, 1, axes),
        floor=0.5,
    )


def tiles(count: int) -> torch.Tensor:
    random = np.random.default_rng(6)
    return torch.from_numpy(random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8))


def test_images_are_independent_of_what_shares_their_batch() -> None:
    module = Fingerprint(SPEC, whitening())
    pixels = tiles(4)
    alone, length = module(pixels[1:3], torch.full((1, 2), 0.5))

    weights = torch.tensor([[1.0, 0, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 1.0]])
    together, lengths = module(pixels, weights)

    torch.testing.assert_close(together[1:2], alone, rtol=0, atol=1e-6)
    torch.testing.assert_close(lengths[1:2], length)


def test_rows_have_length_one() -> None:
    found, _ = Fingerprint(SPEC, whitening())(tiles(3), torch.eye(3))

    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))


def test_tiles_are_averaged_before_whitening() -> None:
    pixels, fit = tiles(3), whitening()
    mean = TileFeatures(SPEC)(pixels)[0].mean(0).numpy().astype(np.float64)

    found, strengths = Fingerprint(SPEC, fit)(pixels, torch.full((1, 3), 1 / 3))

    deviation = mean - fit.mean
    along = fit.axes @ deviation
    z = (along / np.sqrt(fit.variances + fit.floor)) @ fit.axes
    z += (deviation - along @ fit.axes) / np.sqrt(fit.floor)
    np.testing.assert_allclose(strengths[0], np.linalg.norm(z), rtol=1e-5)
    np.testing.assert_allclose(found[0], z / np.linalg.norm(z), atol=1e-6)
