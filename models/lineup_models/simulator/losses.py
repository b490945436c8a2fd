"""What a reconstruction is judged by: squared error and a perceptual distance."""

from __future__ import annotations

import math
from importlib import import_module
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from lineup.errors import MissingExtraError

WINDOW_PX = 8
STRIDE_PX = 4
FLOOR = 0.02
"""Amplitude below which differences no longer count, about two grey levels of 255."""

SCALE = 0.2
"""Brings poor reconstructions to about 0.2, where LPIPS has them, so that the weights agree."""


def local_fourier_bank(window_px: int) -> Tensor:
    """Return Hann-windowed cosines and sines, one pair per frequency of a half plane.

    Returns:
        float32 (2 pairs, 1, window, window): all cosines, then all sines; unit energy, no mean.
    """
    position = torch.arange(window_px, dtype=torch.float64) - (window_px - 1) / 2
    hann = torch.hann_window(window_px + 2, periodic=False, dtype=torch.float64)[1:-1]
    window = hann[:, None] * hann[None, :]
    half = window_px // 2
    frequencies = [(v, u) for v in range(-half, half) for u in range(half) if u > 0 or v > 0]
    banks: list[Tensor] = []
    for wave in (torch.cos, torch.sin):
        for v, u in frequencies:
            phase = 2 * math.pi * (v * position[:, None] + u * position[None, :]) / window_px
            filters = wave(phase)
            filters = window * (filters - (window * filters).sum() / window.sum())
            banks.append(filters / filters.norm().clamp(min=1e-9))
    return torch.stack(banks)[:, None].to(torch.float32)


class LocalSpectrumDistance(nn.Module):
    """Scaled mean difference of local log-amplitudes, at two scales.

    Stands in for LPIPS, whose weights come from the network. What the squared error alone lacks,
    and LPIPS adds, is texture: of two equally wrong reconstructions it prefers the one with the
    right amount of detail over the blurred one. Amplitudes of a windowed Fourier transform say how
    much detail of which scale and direction there is and, as the complex cells of vision, ignore
    where exactly; the logarithm makes the comparison relative, as LPIPS's channel norm does. The
    windows overlap and their grid is shifted from step to step, so that it leaves no lattice.

    Input two float32 (N, 3, H, W), -1..1; output a scalar, 0 for equal images.
    """

    bank: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("bank", local_fourier_bank(WINDOW_PX), persistent=False)

    def forward(self, image: Tensor, reference: Tensor, shift: tuple[int, int]) -> Tensor:
        """Return the distance; `shift` moves the grid of windows, 0 to 3 px each way."""
        pair = torch.cat([image, reference])[:, :, shift[0] :, shift[1] :]
        # Brightness carries most texture; colour is compared at the coarser scale only.
        fine = self._difference(pair.mean(dim=1, keepdim=True))
        coarse = F.avg_pool2d(pair, 2)
        coarse = coarse.reshape(-1, 1, *coarse.shape[2:])
        return SCALE / 2 * (fine + self._difference(coarse))

    def _difference(self, planes: Tensor) -> Tensor:
        cosines, sines = F.conv2d(planes, self.bank, stride=STRIDE_PX).chunk(2, dim=1)
        amplitudes = torch.log(torch.sqrt(cosines**2 + sines**2 + FLOOR**2))
        first, second = amplitudes.chunk(2)
        return (first - second).abs().mean()


class LpipsDistance(nn.Module):
    """The published LPIPS, from the `lpips` package and the weights it downloads.

    Input and output as `LocalSpectrumDistance`.

    Raises:
        MissingExtraError: The package is not installed, or its weights cannot be had.
    """

    def __init__(self) -> None:
        super().__init__()
        try:
            package = import_module("lpips")
            self.network = package.LPIPS(net="vgg", verbose=False).requires_grad_(False).eval()
        except (ImportError, OSError) as error:
            raise MissingExtraError(
                f"The LPIPS network cannot be loaded ({error}).",
                hint="`pip install lpips` and give it access to its weights once, or train with "
                "the built-in perceptual distance.",
            ) from error

    def forward(self, image: Tensor, reference: Tensor, shift: tuple[int, int]) -> Tensor:
        """Return the mean distance over the batch; `shift` plays no part."""
        del shift
        distance: Tensor = self.network(image, reference)
        return distance.mean()


class LossParts(NamedTuple):
    """The loss of one batch.

    Attributes:
        total: What is minimised.
        squared_error: Mean squared error of images scaled to -1..1.
        perceptual: The perceptual distance, not weighted.
    """

    total: Tensor
    squared_error: Tensor
    perceptual: Tensor


class ReconstructionLoss(nn.Module):
    """Squared error plus the weighted perceptual distance, images scaled to -1..1."""

    def __init__(self, perceptual_weight: float, *, lpips: bool = False) -> None:
        super().__init__()
        self.perceptual_weight = perceptual_weight
        self.perceptual = LpipsDistance() if lpips else LocalSpectrumDistance()

    def forward(self, image: Tensor, reference: Tensor, shift: tuple[int, int]) -> LossParts:
        """Compare float32 (N, 3, H, W) images in 0..1; `shift` as `LocalSpectrumDistance`."""
        image, reference = image * 2.0 - 1.0, reference * 2.0 - 1.0
        squared_error = F.mse_loss(image, reference)
        perceptual = self.perceptual(image, reference, shift)
        total = squared_error + self.perceptual_weight * perceptual
        return LossParts(total, squared_error, perceptual)
