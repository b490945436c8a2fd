from __future__ import annotations

import numpy as np
import torch

from lineup_models.fingerprint.covariance import FoundAxes
from lineup_models.fingerprint.spec import SpectrumSpec
from lineup_models.fingerprint.spectrum import PooledSpectrum
from lineup_models.research.oneforall.denoiser import (
    DenoiserSpec,
    denoiser_from_spec,
    spectrum_module,
)
from lineup_models.research.oneforall.extractor import (
    LEAN,
    ExtractorKind,
    ExtractorSpec,
    FingerprintNetwork,
    ResNet,
    WhitenedExtractor,
    extractor_from_spec,
)
from lineup_models.research.oneforall.presets import CPU, GPU

SPECTRUM = SpectrumSpec(tile_size_px=32, pool_height=8, pool_width=6, axes=4)
ROWS = torch.rand(5, 48, generator=torch.Generator().manual_seed(3)) * 4


def _closed_form(rows: np.ndarray, whitening: FoundAxes) -> np.ndarray:
    """The formula of the closed form, in float64."""
    d = rows.astype(np.float64) - whitening.mean
    V = whitening.axes.astype(np.float64).T
    along = d @ V
    z = (along / np.sqrt(whitening.variances + whitening.floor)) @ V.T
    z += (d - along @ V.T) / np.sqrt(whitening.floor)
    return np.asarray(z)


def test_untrained_it_is_the_closed_form(whitening: FoundAxes) -> None:
    extractor = extractor_from_spec(LEAN, SPECTRUM, whitening, seed=0)
    assert isinstance(extractor, WhitenedExtractor)
    z = _closed_form(ROWS.numpy(), whitening)
    np.testing.assert_allclose(extractor.parts(ROWS)[0].numpy(), z, atol=1e-5)
    expected = z / np.linalg.norm(z, axis=1, keepdims=True)
    np.testing.assert_allclose(extractor(ROWS).detach().numpy(), expected, atol=1e-6)


def test_every_weight_of_the_correction_can_learn(whitening: FoundAxes) -> None:
    spec = ExtractorSpec(width=4, blocks=(1,))
    extractor = extractor_from_spec(spec, SPECTRUM, whitening, seed=0)
    optimiser = torch.optim.SGD(extractor.parameters(), lr=0.1)
    for _ in range(3):  # what is zero at first lets gradients through after a step
        optimiser.zero_grad()
        (extractor(ROWS) * torch.linspace(0, 1, 48)).sum().backward()
        optimiser.step()
    for name, parameter in extractor.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_embeddings_have_length_one_and_weights_come_from_the_seed(whitening: FoundAxes) -> None:
    for spec in (LEAN, ExtractorSpec(ExtractorKind.RESNET50, 4, (1, 1, 1, 1), 16)):
        before = torch.get_rng_state()
        first, again, other = (
            extractor_from_spec(spec, SPECTRUM, whitening, seed=seed).eval() for seed in (1, 1, 2)
        )
        assert torch.equal(torch.get_rng_state(), before)
        found = first(ROWS)
        assert torch.allclose(found.norm(dim=1), torch.ones(5), atol=1e-6)
        assert torch.equal(found, again(ROWS))
        assert not all(
            torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True)
        )


def test_resnet50_has_the_published_size() -> None:
    # 23,508,032 weights without the classifier (He et al. 2016, as in torchvision), of which the
    # first convolution has 2 * 64 * 49 less on one channel instead of three.
    network = ResNet(256)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == 23_508_032 - 2 * 64 * 49 + (2048 + 1) * 256


def test_the_lean_extractor_is_lean() -> None:
    whitening = FoundAxes(np.zeros(4608), np.zeros((1, 4608), np.float32), np.zeros(1), 1.0)
    extractor = extractor_from_spec(CPU.extractor, CPU.spectrum, whitening, seed=0)
    assert sum(parameter.numel() for parameter in extractor.parameters()) < 400_000
    assert GPU.spectrum.dimension == 256 * 129


def test_the_graph_averages_an_images_tiles(whitening: FoundAxes) -> None:
    tiles = torch.from_numpy(
        np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), dtype=np.uint8)
    )
    weights = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    extractor = extractor_from_spec(LEAN, SPECTRUM, whitening, seed=0)
    with torch.inference_mode():
        found = FingerprintNetwork(spectrum_module(SPECTRUM, None), extractor)(tiles, weights)
        rows = PooledSpectrum(SPECTRUM)(tiles)
        expected = extractor(torch.stack([rows[:2].mean(0), rows[2]]))
    torch.testing.assert_close(found, expected)


def test_the_denoised_spectrum_is_that_of_the_residual() -> None:
    full = SpectrumSpec(tile_size_px=32, pool_height=32, pool_width=17)
    denoiser = denoiser_from_spec(DenoiserSpec(depth=3, width=4), seed=0).eval()
    tiles = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), dtype=np.uint8)
    with torch.inference_mode():
        found = spectrum_module(full, denoiser)(torch.from_numpy(tiles)).numpy()
        images = torch.from_numpy(tiles).permute(0, 3, 1, 2).float()
        residual = denoiser(images).mean(1).numpy().astype(np.float64)
    spectrum = np.fft.fftshift(np.abs(np.fft.rfft2(residual, norm="ortho")), axes=1)
    np.testing.assert_allclose(found.reshape(2, 32, 17), np.log1p(spectrum), atol=2e-5)
