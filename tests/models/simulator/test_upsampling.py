from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention

from lineup_models.simulator.architecture import Upsampler
from lineup_models.simulator.cells import (
    FIXED_UPSAMPLERS,
    VariUp,
    binomial_taps,
    kaiser_sinc_taps,
    triangle_taps,
)

FACTORS = (2, 4, 8)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("upsampler", FIXED_UPSAMPLERS)
def test_interpolations_keep_a_constant(upsampler: Upsampler, factor: int) -> None:
    enlarged = FIXED_UPSAMPLERS[upsampler](torch.full((1, 2, 5, 6), 0.7), factor)
    assert enlarged.shape == (1, 2, 5 * factor, 6 * factor)
    # Each phase of the truncated sinc sums to one only nearly.
    tolerance = 0.02 if upsampler is Upsampler.KAISER_SINC else 1e-6
    assert torch.allclose(enlarged, torch.full_like(enlarged, 0.7), atol=tolerance)


@pytest.mark.parametrize("factor", FACTORS)
def test_zero_insertion_keeps_samples_and_draws_straight_lines_between(factor: int) -> None:
    samples = torch.randn(1, 1, 4, 5)
    enlarged = FIXED_UPSAMPLERS[Upsampler.ZERO_INSERTION](samples, factor)
    assert torch.allclose(enlarged[:, :, ::factor, ::factor], samples, atol=1e-6)
    middle = enlarged[:, :, ::factor, factor // 2 :: factor][..., :-1]
    assert torch.allclose(middle, (samples[..., :-1] + samples[..., 1:]) / 2, atol=1e-6)


@pytest.mark.parametrize("factor", FACTORS)
def test_windowed_sinc_keeps_samples(factor: int) -> None:
    samples = torch.randn(1, 1, 6, 6)
    enlarged = FIXED_UPSAMPLERS[Upsampler.KAISER_SINC](samples, factor)
    assert torch.allclose(enlarged[:, :, ::factor, ::factor], samples, atol=0.05)


@pytest.mark.parametrize("factor", FACTORS)
def test_taps_have_their_sums(factor: int) -> None:
    assert binomial_taps(factor).sum() == pytest.approx(1)
    assert triangle_taps(factor).sum() == pytest.approx(factor)
    assert kaiser_sinc_taps(factor).sum() == pytest.approx(factor)


def test_antialiasing_takes_the_lattice_of_repetition_away() -> None:
    samples = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))

    def lattice(upsampler: Upsampler) -> float:
        spectrum = torch.fft.rfft2(FIXED_UPSAMPLERS[upsampler](samples, 2)).abs()
        return float(spectrum[:, :, 24:40, 24:].mean() / spectrum.mean())

    assert lattice(Upsampler.BLURRED_NEAREST) < 0.7 * lattice(Upsampler.NEAREST)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("upsampler", Upsampler)
def test_every_upsampler_gives_size_and_channels(upsampler: Upsampler, factor: int) -> None:
    vari_up = VariUp(6, 4, factor, tuple(Upsampler))
    assert vari_up(torch.randn(2, 6, 3, 5), upsampler).shape == (2, 4, 3 * factor, 5 * factor)


def test_pixel_shuffle_interleaves_the_phases() -> None:
    vari_up = VariUp(3, 2, 2, (Upsampler.PIXEL_SHUFFLE,))
    features = torch.randn(1, 3, 4, 4)
    phases = vari_up.phases(features)
    shuffled = vari_up(features, Upsampler.PIXEL_SHUFFLE)
    assert torch.equal(shuffled[:, 0, 1::2, 0::2], phases[:, 2])
    assert torch.equal(shuffled, F.pixel_shuffle(phases, 2))
