"""From tiles to the fingerprint: the module that is exported."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from lineup_models.fingerprint.covariance import FoundAxes
from lineup_models.fingerprint.dft import LatticeContrast
from lineup_models.fingerprint.real_head import RealHead, RealWeights
from lineup_models.fingerprint.spec import SpectrumSpec
from lineup_models.fingerprint.spectrum import PooledSpectrum
from lineup_models.fingerprint.texture import Texture

TEXTURE_GAIN = 16.0
"""What texture is multiplied by, so that one floor serves spectrum and texture."""


class TileFeatures(nn.Module):
    """Tiles to what of them is whitened and what the real head reads.

    Input uint8 or float32 (tiles, size, size, 3), RGB, 0..255. Outputs float32: spectrum and
    texture, (tiles, fingerprint dimension), and statistics of the head, (tiles, statistics).
    """

    def __init__(self, spec: SpectrumSpec) -> None:
        super().__init__()
        self.spectrum = PooledSpectrum(spec)
        self.texture = Texture()
        self.lattice = LatticeContrast(spec.tile_size_px)

    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and statistics of each tile."""
        pixels = tiles.to(torch.float32)  # first of all: TensorRT does nothing else to bytes
        level = self.spectrum.levels(pixels)
        texture = self.texture(pixels.permute(0, 3, 1, 2))
        features = torch.cat([self.spectrum.pooled(level), texture * TEXTURE_GAIN], 1)
        return features, torch.cat([self.lattice(level), texture], 1)


class Fingerprint(nn.Module):
    """Tiles to fingerprints.

    z = V diag(1 / sqrt(e + f)) V'(v - mu) + (v - mu - V V'(v - mu)) / sqrt(f), v the features'
    mean over an image's tiles; the fingerprint is z, L2-normalised, and the strength is the length
    of z. What is computed is z sqrt(f) = d - V diag(1 - sqrt(f / (e + f))) V' d, d = v - mu, with
    the square root of the gains inside one matrix that is used twice.

    With narrow axes, only the two products with them are in fp16; the features, the mean and the
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
        self.features = TileFeatures(spec)
        self.register_buffer("mean", torch.from_numpy(whitening.mean.astype(np.float32)))
        self.register_buffer("axes", torch.from_numpy(whitening.damped_axes()).to(axes_dtype))
        self.deviation = whitening.floor**0.5
        self.real = None if real is None else RealHead(real)

    def forward(self, tiles: Tensor, tile_weights: Tensor) -> tuple[Tensor, ...]:
        """Return fingerprint, strength and what the real head says, per row of `tile_weights`."""
        features, statistics = self.features(tiles)
        whitened = self._whitened(torch.matmul(tile_weights, features))
        length = torch.sqrt((whitened * whitened).sum(1, keepdim=True))
        fingerprints = whitened / length.clamp(min=1e-12)
        strengths = length[:, 0] * (1.0 / self.deviation)
        if self.real is None:
            return fingerprints, strengths
        return fingerprints, strengths, self.real(statistics, tile_weights)

    def _whitened(self, features: Tensor) -> Tensor:
        """Return z sqrt(f)."""
        deviation = features - self.mean
        narrow = deviation.to(self.axes.dtype)
        content = torch.matmul(F.linear(narrow, self.axes), self.axes)
        return deviation - content.to(torch.float32)
