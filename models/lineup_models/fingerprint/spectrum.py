"""From tiles to the pooled log-spectrum, and from that to the fingerprint."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from lineup_models.fingerprint.covariance import FoundAxes
from lineup_models.fingerprint.dft import HalfPlaneMagnitude, LatticeContrast, SpectrumPool
from lineup_models.fingerprint.real_head import RealHead, RealWeights, TileStatistics, check_spec
from lineup_models.fingerprint.residual import RESIDUAL_FILTERS
from lineup_models.fingerprint.spec import ChannelMean, SpectrumSpec


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

    z = V diag(1 / sqrt(e + f)) V'(v - mu) + (v - mu - V V'(v - mu)) / sqrt(f);
    the fingerprint is z, L2-normalised, and the strength is the length of z.
    What is computed is z sqrt(f) = d - V diag(1 - sqrt(f / (e + f))) V' d, d = v - mu, with the
    square root of the gains inside one matrix that is used twice.

    With narrow axes, only the two products with them are in fp16; the spectrum, the mean and the
    length stay in fp32.

    Inputs: `tiles` uint8 (tiles, size, size, 3), RGB, and `tile_weights` float32 (images, tiles),
    whose row i holds 1/T_i at image i's tiles and 0 elsewhere.
    Outputs: fingerprints, float32 (images, dimension), rows of length 1; strengths, float32
    (images,), in deviations; with weights of the real head also its log likelihood ratios, float32
    (images,), photograph against generated.
    """

    mean: Tensor
    axes: Tensor

    def __init__(
        self,
        spec: SpectrumSpec,
        whitening: FoundAxes,
        *,
        real: RealWeights | None = None,
        axes_dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.spectrum = PooledSpectrum(spec)
        self.register_buffer("mean", torch.from_numpy(whitening.mean.astype(np.float32)))
        self.register_buffer("axes", torch.from_numpy(whitening.damped_axes()).to(axes_dtype))
        self.deviation = whitening.floor**0.5
        self.real: RealHead | None = None
        if real is not None:
            check_spec(spec)
            self.lattice = LatticeContrast(spec.tile_size_px)
            self.statistics = TileStatistics()
            self.real = RealHead(real)

    def forward(self, tiles: Tensor, tile_weights: Tensor) -> tuple[Tensor, ...]:
        """Return fingerprint, strength and what the real head says, per row of `tile_weights`."""
        pixels = tiles.to(torch.float32)  # first of all: TensorRT does nothing else to bytes
        residuals = self.spectrum.residuals(pixels)
        level = self.spectrum.levels_from_residuals(residuals)
        whitened = self._whitened(torch.matmul(tile_weights, self.spectrum.pooled(level)))
        length = torch.sqrt((whitened * whitened).sum(1, keepdim=True))
        fingerprints = whitened / length.clamp(min=1e-12)
        strengths = length[:, 0] * (1.0 / self.deviation)
        if self.real is None:
            return fingerprints, strengths
        planes = pixels.permute(0, 3, 1, 2)
        statistics = torch.cat([self.lattice(level), self.statistics(planes, residuals)], 1)
        return fingerprints, strengths, self.real(statistics, tile_weights)

    def _whitened(self, spectra: Tensor) -> Tensor:
        """Return z sqrt(f)."""
        deviation = spectra - self.mean
        narrow = deviation.to(self.axes.dtype)
        content = torch.matmul(F.linear(narrow, self.axes), self.axes)
        return deviation - content.to(torch.float32)
