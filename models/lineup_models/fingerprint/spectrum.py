"""From tiles to the pooled log-spectrum of their residuals."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lineup_models.fingerprint.dft import HalfPlaneMagnitude, SpectrumPool
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
        residuals, size = self._residuals(tiles), self.spec.tile_size_px
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

    def _residuals(self, tiles: Tensor) -> list[Tensor]:
        """Return each channel's residual, (tiles, 1, size, size); of the grey image, just one."""
        pixels = tiles.to(torch.float32)  # (tiles, size, size, 3)
        if self.spec.channel_mean is ChannelMean.PIXELS:
            return [self.residual(pixels.mean(3).unsqueeze(1))]
        planes = pixels.permute(0, 3, 1, 2)  # (tiles, 3, size, size)
        # One channel at a time: temporaries of a third of the size stay in the processor's cache.
        return [self.residual(planes[:, channel : channel + 1]) for channel in range(3)]

    def pooled(self, level: Tensor) -> Tensor:
        """Return full log-spectra pooled, (tiles, dimension)."""
        pooled: Tensor = self.pool(level)
        return pooled.reshape(-1, self.spec.dimension)
