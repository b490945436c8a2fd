"""What tells photographs from generated images: peaks, sharpness and noise of a tile.

Linear in few numbers on purpose. Richer descriptions (whole spectra, their lattices in colour or
in energy) tell simulated generators from photographs without error and say less about real ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lineup.errors import UsageError
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
