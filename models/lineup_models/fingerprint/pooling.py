"""Area pooling as matrix products, with the order of the spectrum's rows folded in."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lineup_models.fingerprint.dft import row_frequencies


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
