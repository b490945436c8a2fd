"""The head that tells photographs from generated images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lineup.types import Float64Array
from lineup_models.fingerprint.spec import LATTICE_DIMENSION, TEXTURE_DIMENSION

STATISTICS = LATTICE_DIMENSION + TEXTURE_DIMENSION
"""Numbers that the head reads of each tile: lattice contrasts, then texture."""

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
