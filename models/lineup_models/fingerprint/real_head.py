"""The head that tells photographs from generated images, and the statistics it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lineup.errors import UsageError
from lineup.types import Float64Array
from lineup_models.fingerprint.spec import LATTICE_DIMENSION, ChannelMean, SpectrumSpec

DIFFERENCES = 12
VARIANCES = 6
CORRELATIONS = 3
STATISTICS = LATTICE_DIMENSION + DIFFERENCES + VARIANCES + CORRELATIONS
"""Numbers that the head reads of each tile."""

SQUARE_MAX = 900.0
"""Squared differences saturate here (30 grey levels): edges must not outweigh the rest."""

SQUARE_FLOOR = 0.05
VARIANCE_FLOOR = 0.01
CORRELATION_FLOOR = 1e-3


class TileStatistics(nn.Module):
    """Energies of pixel differences, and energies and correlations of the channels' residuals.

    - log mean squared first and second differences, down and across, of the mean of the channels,
      of R - G and of B - G (12 numbers): how fast detail and colour fall off;
    - log variance of the residuals r, g, b, of their mean, of r - g and of b - g (6);
    - correlations of the residuals: r with g, g with b, r with b (3).

    Input: pixels float32 (N, 3, size, size), 0..255, and the residual of each channel, three of
    (N, 1, size, size). Output float32 (N, 21).
    """

    def forward(self, pixels: Tensor, residuals: Sequence[Tensor]) -> Tensor:
        """Return the statistics."""
        red, green, blue = (pixels[:, channel] for channel in range(3))
        planes = (red + green + blue) * (1.0 / 3.0), red - green, blue - green
        energies = [energy for plane in planes for energy in _difference_energies(plane)]
        r, g, b = (residual[:, 0] for residual in residuals)
        noises = r, g, b, (r + g + b) * (1.0 / 3.0), r - g, b - g
        powers = [_mean(noise * noise) for noise in noises]
        variances = [torch.log(power + VARIANCE_FLOOR) for power in powers]
        correlations = [
            _mean(one * other) / torch.sqrt(power * other_power + CORRELATION_FLOOR)
            for one, other, power, other_power in (
                (r, g, powers[0], powers[1]),
                (g, b, powers[1], powers[2]),
                (r, b, powers[0], powers[2]),
            )
        ]
        return torch.stack([*energies, *variances, *correlations], dim=1)


def check_spec(spec: SpectrumSpec) -> None:
    """Raise when the spectrum gives no residual per channel.

    Raises:
        UsageError: The channels are averaged before the residual.
    """
    if spec.channel_mean is ChannelMean.PIXELS:
        raise UsageError(
            "Telling photographs from generated images needs a residual per channel.",
            hint="Fit the whitening with --channel-mean residuals.",
        )


def _difference_energies(plane: Tensor) -> list[Tensor]:
    """Return log energies of first differences down and across, then of second ones."""
    down = plane[:, 1:] - plane[:, :-1]
    across = plane[:, :, 1:] - plane[:, :, :-1]
    twice_down = down[:, 1:] - down[:, :-1]
    twice_across = across[:, :, 1:] - across[:, :, :-1]
    return [_log_energy(one) for one in (down, across, twice_down, twice_across)]


def _log_energy(difference: Tensor) -> Tensor:
    squares = (difference * difference).clamp(max=SQUARE_MAX)
    return torch.log(_mean(squares) + SQUARE_FLOOR)


def _mean(plane: Tensor) -> Tensor:
    return plane.mean(dim=(1, 2))


DEVIATIONS_MAX = 6.0
"""Standardised statistics saturate here."""

RATIO_MAX = 20.0
"""Log likelihood ratios of the regression saturate here, far beyond where they are bounded."""


@dataclass(frozen=True, slots=True)
class RealWeights:
    """A logistic regression on the statistics of a tile, and how far it can be trusted.

    Attributes:
        mean: float64 (statistics,), of the training tiles.
        deviation: float64 (statistics,).
        weights: float64 (statistics,), of the log odds "generated" over the standardised
            statistics.
        bias: Of the log odds; both classes counted the same.
        traceless: Share of generated images that carry no trace this head knows, 0..1.
        odd: Share of photographs that look generated to it, 0..1.
    """

    mean: Float64Array
    deviation: Float64Array
    weights: Float64Array
    bias: float
    traceless: float = 0.5
    odd: float = 0.05


class RealHead(nn.Module):
    """Statistics of tiles to a log likelihood ratio per image, photograph against generated.

    With l the log likelihood ratio on the training data (the mean over an image's tiles), the
    claim is log((1 - o) exp(l) + o) - log(1 - t + t exp(l)): images of generators that it was not
    trained on are taken to be a mixture of what the others look like and, with the share t, of what
    photographs look like; photographs are taken to look generated with the share o. It rises with
    l and stays between log(o / (1 - t)) and log((1 - o) / t).

    Inputs: float32 (tiles, statistics) and `tile_weights` float32 (images, tiles).
    Output: float32 (images,).
    """

    centre: Tensor
    scale: Tensor
    weights: Tensor

    def __init__(self, real: RealWeights) -> None:
        super().__init__()
        self.register_buffer("centre", torch.from_numpy(real.mean.astype(np.float32)))
        self.register_buffer("scale", torch.from_numpy((1.0 / real.deviation).astype(np.float32)))
        self.register_buffer("weights", torch.from_numpy(real.weights.astype(np.float32))[:, None])
        self.bias, self.traceless, self.odd = real.bias, real.traceless, real.odd

    def forward(self, statistics: Tensor, tile_weights: Tensor) -> Tensor:
        """Return the log likelihood ratio of each row of `tile_weights`."""
        standardised = ((statistics - self.centre) * self.scale).clamp(
            -DEVIATIONS_MAX, DEVIATIONS_MAX
        )
        tiles = torch.matmul(standardised, self.weights) + self.bias  # (tiles, 1)
        ratio = (-torch.matmul(tile_weights, tiles)[:, 0]).clamp(-RATIO_MAX, RATIO_MAX)
        return claims_from_ratios(ratio, odd=self.odd, traceless=self.traceless)


def claims_from_ratios(ratios: Tensor, *, odd: float | Tensor, traceless: float | Tensor) -> Tensor:
    """Return what is claimed, given log likelihood ratios on the training data; see `RealHead`."""
    odds = torch.exp(ratios)
    photograph = torch.log(odds * (1.0 - odd) + odd)
    return photograph - torch.log(odds * traceless + (1.0 - traceless))
