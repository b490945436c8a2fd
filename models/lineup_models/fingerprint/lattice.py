"""Lattice contrast: how far the spectrum rises at the frequencies where upsampling leaves peaks.

A decoder that doubles its resolution k times repeats its filters every 2^k pixels, which shows as
peaks at multiples of 1/2^k of the sampling frequency. Pooling would average them away, so they are
read from the full log-spectrum: at every multiple of 1/16, the value minus its surroundings.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lineup_models.fingerprint.dft import row_frequencies
from lineup_models.fingerprint.spec import LATTICE_DIMENSION

POINTS = 9
"""Multiples 0..8 of 1/16 of the sampling frequency, along each axis."""


class LatticeContrast(nn.Module):
    """Log-spectrum at 9 x 9 lattice points minus the mean of the 16 bins around the 3 x 3 there.

    contrast(p, q) = L(p, q) - (sum of 5 x 5 - sum of 3 x 3) / 16, averaged over the row
    frequencies +p and -p: a mirrored image has the same. Both sums are separable, because with
    L(-p, -q) = L(p, q) the bins of negative column frequencies are those of positive ones.

    Input float32 (N, 2 half, half) as `HalfPlaneMagnitude` orders it, half = size // 2 + 1.
    Output float32 (N, 81).
    """

    down: Tensor
    across: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("down", torch.cat([_row_sums(size, r) for r in (0, 1, 2)]))
        self.register_buffer("across", torch.cat([_column_sums(size, r) for r in (0, 1, 2)], 1))

    def forward(self, spectrum: Tensor) -> Tensor:
        """Return the contrasts."""
        sums = torch.matmul(self.down, torch.matmul(spectrum, self.across))  # (N, 27, 27)
        n = POINTS
        point = sums[:, :n, :n]
        inner = sums[:, n : 2 * n, n : 2 * n]
        window = sums[:, 2 * n :, 2 * n :]
        return (point - (window - inner) / 16.0).reshape(-1, LATTICE_DIMENSION)


def _row_sums(size: int, radius: int) -> Tensor:
    """Sum rows within `radius` of each lattice frequency, mean over both signs: (9, size + 2)."""
    matrix = torch.zeros(POINTS, size + 2)
    row_of = {frequency: row for row, frequency in enumerate(row_frequencies(size))}
    for point in range(POINTS):
        for sign in (1, -1):
            for offset in range(-radius, radius + 1):
                frequency = sign * point * size // 16 + offset
                wrapped = (frequency + size // 2) % size - size // 2
                matrix[point, row_of[wrapped]] += 0.5
    return matrix


def _column_sums(size: int, radius: int) -> Tensor:
    """Sum columns within `radius` of each lattice frequency, reflected: (size // 2 + 1, 9)."""
    half = size // 2
    matrix = torch.zeros(half + 1, POINTS)
    for point in range(POINTS):
        for offset in range(-radius, radius + 1):
            column = abs(point * size // 16 + offset)
            matrix[min(column, size - column), point] += 1.0
    return matrix
