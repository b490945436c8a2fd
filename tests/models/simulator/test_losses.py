from __future__ import annotations

import sys

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention

from lineup.errors import MissingExtraError
from lineup_models.simulator.losses import (
    LocalSpectrumDistance,
    ReconstructionLoss,
    local_fourier_bank,
)

SHIFT = (1, 2)


def _texture(seed: int) -> torch.Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(seed)) * 0.5 + 0.2


def test_bank_ignores_brightness_and_phase() -> None:
    bank = local_fourier_bank(8)
    assert bank.shape == (2 * 27, 1, 8, 8)
    assert torch.allclose(bank.sum(dim=(2, 3)), torch.zeros(54, 1), atol=1e-5)
    assert torch.allclose(bank.square().sum(dim=(2, 3)), torch.ones(54, 1), atol=1e-5)


def test_equal_images_are_at_distance_zero() -> None:
    loss = ReconstructionLoss(0.25)(_texture(0), _texture(0), SHIFT)
    assert loss.total == loss.squared_error == loss.perceptual == 0


def test_prefers_the_right_texture_over_a_blur_where_the_squared_error_does_not() -> None:
    reference, other = _texture(0), _texture(1)
    blurred = F.avg_pool2d(reference, 5, stride=1, padding=2, count_include_pad=False)
    loss = ReconstructionLoss(0.25)
    texture, blur = loss(other, reference, SHIFT), loss(blurred, reference, SHIFT)
    assert texture.squared_error > blur.squared_error
    assert texture.perceptual < 0.5 * blur.perceptual


def test_total_is_the_weighted_sum() -> None:
    loss = ReconstructionLoss(0.25)(_texture(0), _texture(1), SHIFT)
    assert loss.total == pytest.approx(float(loss.squared_error + 0.25 * loss.perceptual))
    assert loss.squared_error == pytest.approx(
        4 * float((_texture(0) - _texture(1)).square().mean()), rel=1e-5
    )


def test_shift_moves_the_windows() -> None:
    distance = LocalSpectrumDistance()
    first, second = _texture(0), _texture(1)
    assert distance(first, second, (0, 0)) != distance(first, second, (3, 1))


def test_lpips_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(MissingExtraError, match="LPIPS") as caught:
        ReconstructionLoss(0.25, lpips=True)
    assert caught.value.hint
