"""Texture: how often each small pattern of neighbouring pixels occurs in a tile.

A spectrum tells how strong a residual is at each frequency, not how its values go together: which
colours move with each other, which steps follow each other. Patterns of three small numbers do,
as in steganalysis (SPAM, Pevny et al. 2010; rich models, Fridrich and Kodovsky 2012):

- colours: the second differences of red, green and blue at one place, across and down;
- runs: three first differences in a row of the sum of the channels, across and down;

each between neighbours and between pixels that lie two apart. Differences are counted in units to
-2..2, on every fifth row: no period of 2 or 8 pixels shares a factor with it. All of this
is arithmetic of small integers, and no unit puts a border on one: every backend counts the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from lineup_models.fingerprint.spec import TEXTURE_DIMENSION

DISTANCES_PX = (1, 2)
COLOUR_UNITS = (1.0, 2.5)
"""Grey levels that a colour's second difference is counted in, per distance."""

RUN_UNITS = (7.0, 13.0)
"""The same of the first differences of the sum of three channels."""

LARGEST = 2
ROW_STEP = 5
DIGITS = 8
"""Patterns are numbered 25 a + 5 b + c. A tile turned negative has the same texture: of a number
and its negative one counts, 0..62, which two octal digits hold."""

NUMBERS = 63


class Texture(nn.Module):
    """Pixels to the roots of the patterns' shares (Hellinger's distance is then Euclid's).

    Input float32 (tiles, 3, size, size), RGB, 0..255. Output float32 (tiles, 408), 0..1: for each
    distance across and down, shares of the 63 patterns of colours; then in the same order of the 39
    runs that differ whichever way they are gone through.
    """

    digits: Tensor
    both_ways: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("digits", torch.arange(DIGITS, dtype=torch.float32)[:, None])
        self.register_buffer("both_ways", torch.from_numpy(_both_ways()))

    def forward(self, planes: Tensor) -> Tensor:
        """Return the roots of the shares."""
        grey = planes[:, 0:1] + planes[:, 1:2] + planes[:, 2:3]
        colours, runs = [], []
        for distance, colour, run in zip(DISTANCES_PX, COLOUR_UNITS, RUN_UNITS, strict=True):
            for neighbours in (_across, _down):
                left, middle, right = neighbours(planes, distance, 3)
                second = _counted(left + right - 2.0 * middle, colour)
                colours.append(self._shares([second[:, channel] for channel in range(3)]))
                row = neighbours(grey, distance, 4)
                steps = [_counted(row[at + 1] - row[at], run)[:, 0] for at in range(3)]
                runs.append(self._shares(steps))
        patterns = torch.cat([shares[:, :NUMBERS] for shares in colours], 1)
        either_way = torch.matmul(torch.stack(runs, 1), self.both_ways).flatten(1)
        return torch.sqrt(torch.cat([patterns, either_way], 1))

    def _shares(self, values: Sequence[Tensor]) -> Tensor:
        """Return the share of each number, (tiles, 64), as a product of indicators of its digits.

        Neither a scatter nor a histogram is known to every backend.
        """
        first, second, third = values
        numbers = (25.0 * first + 5.0 * second + third).abs().flatten(1)
        high = torch.floor(numbers * (1.0 / DIGITS))
        low = numbers - DIGITS * high
        one, other = ((digit[:, None] == self.digits).to(torch.float32) for digit in (high, low))
        counts = torch.matmul(one, other.transpose(1, 2)).flatten(1)
        return counts * (1.0 / numbers.shape[1])


def _across(planes: Tensor, distance: int, count: int) -> list[Tensor]:
    """Return `count` views that lie `distance` pixels apart, on every fifth row."""
    rows = planes[:, :, distance::ROW_STEP]
    width = planes.shape[3] - (count - 1) * distance
    return [rows[:, :, :, at * distance : at * distance + width] for at in range(count)]


def _down(planes: Tensor, distance: int, count: int) -> list[Tensor]:
    height = planes.shape[2] - (count - 1) * distance
    return [planes[:, :, at * distance : at * distance + height : ROW_STEP] for at in range(count)]


def _counted(differences: Tensor, unit: float) -> Tensor:
    """Return differences in whole units, -2..2."""
    return torch.round(differences * (1.0 / unit)).clamp(-LARGEST, LARGEST)


def _both_ways() -> np.ndarray:
    """Return the matrix, (64, 39), that adds up what is the same run gone through backwards."""
    values = np.arange(-LARGEST, LARGEST + 1)
    first, second, third = np.meshgrid(values, values, values, indexing="ij")
    numbers = np.abs(25 * first + 5 * second + third).ravel()
    backwards = np.abs(25 * third + 5 * second + first).ravel()
    kinds, kind = np.unique(np.minimum(numbers, backwards), return_inverse=True)
    matrix = np.zeros((DIGITS**2, len(kinds)), np.float32)
    matrix[numbers, kind] = 1.0
    assert len(DISTANCES_PX) * 2 * (NUMBERS + len(kinds)) == TEXTURE_DIMENSION
    return matrix
