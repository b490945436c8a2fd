"""The 2-D discrete Fourier transform as matrix products.

TensorRT had no DFT operator before 11.2, so the graph multiplies with cosine and sine matrices.
Real input makes half of the columns redundant; the other half of the work on the rows is saved
because cosine is even and sine odd: rows +k and -k share their products.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


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
