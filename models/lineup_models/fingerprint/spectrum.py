"""From tiles to the pooled log-spectrum, and from that to the fingerprint."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from lineup_models.fingerprint.checkpoint import Whitening
from lineup_models.fingerprint.dft import HalfPlaneMagnitude, LatticeContrast, SpectrumPool
from lineup_models.fingerprint.real_head import RealHead, RealWeights, TileStatistics, check_spec
from lineup_models.fingerprint.residual import RESIDUAL_FILTERS
from lineup_models.fingerprint.spec import ChannelMean, SpectrumSpec

SQUASH = 4.0
"""Deviations at which a lattice contrast saturates: one strong peak must not outshout the rest."""


class PooledSpectrum(nn.Module):
    """Tiles to pooled log-spectra of their residuals.

    Input uint8 (tiles, size, size, 3), RGB, 0..255. Output float32 (tiles, dimension), >= 0.
    """

    def __init__(self, spec: SpectrumSpec) -> None:
        super().__init__()
        self.spec = spec
        self.residual = RESIDUAL_FILTERS[spec.residual](spec)
        self.magnitude = HalfPlaneMagnitude(spec.tile_size_px)
        self.pool = SpectrumPool(spec.tile_size_px, spec.pool_height, spec.pool_width)

    def forward(self, tiles: Tensor) -> Tensor:
        """Return the pooled log-spectrum of each tile."""
        return self.pooled(self.levels(tiles))

    def levels(self, tiles: Tensor) -> Tensor:
        """Return each tile's full log-spectrum, ordered as by `HalfPlaneMagnitude`."""
        return self.levels_from_residuals(self.residuals(tiles))

    def residuals(self, tiles: Tensor) -> list[Tensor]:
        """Return each channel's residual, (tiles, 1, size, size); of the grey image, just one."""
        pixels = tiles.to(torch.float32)  # (tiles, size, size, 3)
        if self.spec.channel_mean is ChannelMean.PIXELS:
            return [self.residual(pixels.mean(3).unsqueeze(1))]
        planes = pixels.permute(0, 3, 1, 2)  # (tiles, 3, size, size)
        # One channel at a time: temporaries of a third of the size stay in the processor's cache.
        return [self.residual(planes[:, channel : channel + 1]) for channel in range(3)]

    def levels_from_residuals(self, residuals: Sequence[Tensor]) -> Tensor:
        """Return each tile's full log-spectrum, from what `residuals` gave."""
        size = self.spec.tile_size_px
        if self.spec.channel_mean is ChannelMean.RESIDUALS:
            noise = (residuals[0] + residuals[1] + residuals[2]) * (1.0 / 3.0)
        else:
            noise = torch.cat(list(residuals), dim=1)  # (tiles, channels, size, size)
        channels = noise.shape[1]
        magnitude: Tensor = self.magnitude(noise.reshape(-1, size, size))
        level = torch.log(magnitude + 1.0)
        if channels > 1:
            level = level.reshape(-1, channels, size + 2, size // 2 + 1).mean(1)
        return level

    def pooled(self, level: Tensor) -> Tensor:
        """Return full log-spectra pooled, (tiles, dimension)."""
        pooled: Tensor = self.pool(level)
        return pooled.reshape(-1, self.spec.dimension)


class WhitenedSpectrum(nn.Module):
    """Tiles to fingerprints: the graph that is exported.

    z = V diag(1 / sqrt(e + f)) V'(v - mu) + (v - mu - V V'(v - mu)) / sqrt(f), L2-normalised;
    l = 4 tanh((c - its mean) / its deviation / 4), c the lattice contrasts, L2-normalised;
    the fingerprint is (z, lattice_weight l), L2-normalised.
    The length does not count, so z sqrt(f) = d - V diag(1 - sqrt(f / (e + f))) V' d is computed,
    d = v - mu, with the square root of the gains inside one matrix that is used twice.

    With narrow axes, only the two products with them are in fp16; the spectrum, the mean and the
    length stay in fp32.

    Inputs: `tiles` uint8 (tiles, size, size, 3), RGB, and `tile_weights` float32 (images, tiles),
    whose row i holds 1/T_i at image i's tiles and 0 elsewhere.
    Outputs: float32 (images, dimension), rows of length 1; with weights of the real head also its
    log likelihood ratios, float32 (images,), photograph against generated.
    """

    mean: Tensor
    axes: Tensor
    lattice_mean: Tensor
    lattice_scale: Tensor

    def __init__(
        self,
        spec: SpectrumSpec,
        whitening: Whitening,
        *,
        real: RealWeights | None = None,
        axes_dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.spectrum = PooledSpectrum(spec)
        self.register_buffer("mean", torch.from_numpy(whitening.mean.astype(np.float32)))
        self.lattice = LatticeContrast(spec.tile_size_px)
        self.lattice_weight = spec.lattice_weight
        scale = 1.0 / (SQUASH * whitening.lattice_deviation)
        self.register_buffer(
            "lattice_mean", torch.from_numpy(whitening.lattice_mean.astype(np.float32))
        )
        self.register_buffer("lattice_scale", torch.from_numpy(scale.astype(np.float32)))
        self.register_buffer("axes", torch.from_numpy(whitening.damped_axes()).to(axes_dtype))
        if real is not None:
            check_spec(spec)
        self.statistics = None if real is None else TileStatistics()
        self.real = None if real is None else RealHead(real)

    def forward(self, tiles: Tensor, tile_weights: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return one fingerprint, and what the real head says, per row of `tile_weights`."""
        pixels = tiles.to(torch.float32)  # first of all: TensorRT does nothing else to bytes
        residuals = self.spectrum.residuals(pixels)
        level = self.spectrum.levels_from_residuals(residuals)
        contrasts = self.lattice(level)
        fingerprints = self._fingerprints(level, contrasts, tile_weights)
        if self.real is None or self.statistics is None:
            return fingerprints
        planes = pixels.permute(0, 3, 1, 2)
        statistics = torch.cat([contrasts, self.statistics(planes, residuals)], 1)
        return fingerprints, self.real(statistics, tile_weights)

    def _fingerprints(self, level: Tensor, contrasts: Tensor, tile_weights: Tensor) -> Tensor:
        deviation = torch.matmul(tile_weights, self.spectrum.pooled(level)) - self.mean
        narrow = deviation.to(self.axes.dtype)
        content = torch.matmul(F.linear(narrow, self.axes), self.axes)
        whitened = deviation - content.to(torch.float32)
        contrast = torch.matmul(tile_weights, contrasts) - self.lattice_mean
        peaks = torch.tanh(contrast * self.lattice_scale)
        parts = [unit_rows(whitened), unit_rows(peaks) * self.lattice_weight]
        return torch.cat(parts, 1) / math.sqrt(1.0 + self.lattice_weight**2)


def unit_rows(rows: Tensor) -> Tensor:
    """Return rows divided by their lengths; a row of zeros stays one."""
    length = torch.sqrt((rows * rows).sum(1, keepdim=True))
    return rows / length.clamp(min=1e-12)
