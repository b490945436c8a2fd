"""The discrete Fourier transform as matrix products, its pooling, and its lattice peaks."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lineup_models.fingerprint.spec import LATTICE_DIMENSION


def angles(size: int) -> Tensor:
    """Return the angles 2 pi n k / size, n = 0..size-1, k = 0..size/2.

    Returns:
        float64 (size, size // 2 + 1). n k is reduced modulo
        `size` first, which keeps the last bits.
    """
    n = torch.arange(size, dtype=torch.int64)[:, None]
    k = torch.arange(size // 2 + 1, dtype=torch.int64)[None, :]
    return (n * k % size).to(torch.float64) * (2.0 * math.pi / size)


class HalfPlaneMagnitude(nn.Module):
    """Magnitude of the orthonormal 2-D DFT on the half plane of non-negative column frequencies.

    Input float32 (N, size, size). Output float32 (N, 2 * (size // 2 + 1), size // 2 + 1): first
    the rows of frequency 0..size/2, then the rows of frequency 0..-size/2. Rows 0 and size/2 come
    twice (see `row_frequencies`); what reads the output gives one of each pair the weight 0.
    """

    columns: Tensor
    rows: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        theta = angles(size)
        scale = 1.0 / math.sqrt(size)
        self.width = size // 2 + 1
        across = torch.cat([theta.cos(), -theta.sin()], dim=1) * scale
        down = torch.cat([theta.cos(), theta.sin()], dim=1).T * scale
        self.register_buffer("columns", across.to(torch.float32).contiguous())
        self.register_buffer("rows", down.to(torch.float32).contiguous())

    def forward(self, image: Tensor) -> Tensor:
        """Return the magnitudes of `image`."""
        half = self.width
        across = torch.matmul(image, self.columns)  # (N, size, 2 half): real | imaginary
        product = torch.matmul(self.rows, across)  # (N, 2 half, 2 half)
        cos_real, cos_imag = product[:, :half, :half], product[:, :half, half:]
        sin_real, sin_imag = product[:, half:, :half], product[:, half:, half:]
        real = torch.cat([cos_real + sin_imag, cos_real - sin_imag], dim=1)
        imag = torch.cat([cos_imag - sin_real, cos_imag + sin_real], dim=1)
        return torch.sqrt(real * real + imag * imag)


def row_frequencies(size: int) -> list[int | None]:
    """Return the frequency of each output row of `HalfPlaneMagnitude`, None for the repeated ones.

    Frequencies are -size/2..size/2 - 1, as after fftshift.
    """
    half = size // 2
    upper: list[int | None] = [*range(half), -half]
    lower: list[int | None] = [None, *(-k for k in range(1, half)), None]
    return upper + lower


def area_matrix(size: int, cells: int) -> Tensor:
    """Return the matrix that pools `size` samples into `cells` of equal width.

    Cell i averages the interval [i size/cells, (i+1) size/cells) of the step function whose value
    on [j, j+1) is sample j: a sample that straddles a border counts in both cells in proportion.
    This is cv2.INTER_AREA when shrinking.

    Returns:
        float64 (cells, size); each row sums to 1.
    """
    start = torch.arange(cells, dtype=torch.float64)[:, None] * size
    sample = torch.arange(size, dtype=torch.float64)[None, :] * cells
    # In units of 1/cells of a sample every border is an integer, so that the overlaps are exact.
    overlap = torch.minimum(start + size, sample + cells) - torch.maximum(start, sample)
    return overlap.clamp(min=0.0) / size


class SpectrumPool(nn.Module):
    """Area-pools the half plane, rows ordered from frequency -size/2 to size/2 - 1.

    Input float32 (N, 2 half, half) as `HalfPlaneMagnitude` orders it, half = size // 2 + 1.
    Output float32 (N, height, width).
    """

    down: Tensor
    across: Tensor

    def __init__(self, size: int, height: int, width: int) -> None:
        super().__init__()
        ordered = area_matrix(size, height)
        down = torch.zeros(height, size + 2, dtype=torch.float64)
        for row, frequency in enumerate(row_frequencies(size)):
            if frequency is not None:
                down[:, row] = ordered[:, frequency + size // 2]
        across = area_matrix(size // 2 + 1, width).T
        self.register_buffer("down", down.to(torch.float32))
        self.register_buffer("across", across.to(torch.float32).contiguous())

    def forward(self, spectrum: Tensor) -> Tensor:
        """Return the pooled spectrum."""
        return torch.matmul(self.down, torch.matmul(spectrum, self.across))


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
