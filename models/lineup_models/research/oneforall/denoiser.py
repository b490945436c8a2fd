"""A denoiser of our own, whose residual shows what a generator leaves in an image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lineup_models.fingerprint.dft import HalfPlaneMagnitude
from lineup_models.fingerprint.pooling import SpectrumPool
from lineup_models.fingerprint.spec import SpectrumSpec


@dataclass(frozen=True, slots=True)
class DenoiserSpec:
    """Sizes of the denoiser.

    Attributes:
        depth: 3x3 convolutions, at least 2.
        width: Channels between them.
        batch_norm: Normalise the inner layers, as published; needs longer training to pay.
    """

    depth: int = 5
    width: int = 16
    batch_norm: bool = False


PUBLISHED_DENOISER = DenoiserSpec(depth=17, width=64, batch_norm=True)
SMALL_DENOISER = DenoiserSpec()


class Denoiser(nn.Module):
    """DnCNN: a chain of 3x3 convolutions that gives the residual, not the denoised image.

    Input float32 (N, 3, H, W), grey levels 0..255; output the noise in it, same shape and unit.
    Borders are padded with zeros around mid-grey, so that the residual keeps the image's size.
    """

    def __init__(self, spec: DenoiserSpec) -> None:
        super().__init__()
        self.spec = spec
        layers: list[nn.Module] = [nn.Conv2d(3, spec.width, 3, padding=1), nn.ReLU()]
        for _ in range(spec.depth - 2):
            layers.append(nn.Conv2d(spec.width, spec.width, 3, padding=1, bias=not spec.batch_norm))
            if spec.batch_norm:
                layers.append(nn.BatchNorm2d(spec.width))
            layers.append(nn.ReLU())
        last = nn.Conv2d(spec.width, 3, 3, padding=1)
        layers.append(last)
        self.layers = nn.Sequential(*layers)
        for layer in layers[:-1]:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        # Starts with no residual at all: a random one would be far larger than the noise.
        nn.init.zeros_(last.weight)
        if last.bias is not None:
            nn.init.zeros_(last.bias)
        # A third faster on a CPU where the layers are wide.
        for parameter in self.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Return the residual."""
        residual: Tensor = self.layers((images - 128.0) / 255.0)
        return residual * 255.0


def denoiser_from_spec(spec: DenoiserSpec, *, seed: int) -> Denoiser:
    """Return a denoiser with weights drawn from `seed`; torch's own random state stays."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Denoiser(spec)


class DenoisedSpectrum(nn.Module):
    """Tiles to log-spectra of the denoiser's residual; stands where `PooledSpectrum` does.

    log(1 + |F|) of the mean residual over the channels, F orthonormal and the residual in grey
    levels, on the half plane, pooled to `pool_height` x `pool_width` cells of `spec` (256 x 129
    for tiles of 256 px pools nothing). The spec's residual filter plays no part.

    Input uint8 (tiles, size, size, 3), RGB, 0..255. Output float32 (tiles, dimension), >= 0.
    """

    def __init__(self, denoiser: Denoiser, spec: SpectrumSpec) -> None:
        super().__init__()
        self.spec = spec
        self.denoiser = denoiser
        self.magnitude = HalfPlaneMagnitude(spec.tile_size_px)
        self.pool = SpectrumPool(spec.tile_size_px, spec.pool_height, spec.pool_width)

    def forward(self, tiles: Tensor) -> Tensor:
        """Return the log-spectrum of each tile."""
        images = tiles.to(torch.float32).permute(0, 3, 1, 2)
        residual = self.denoiser(images).mean(dim=1)
        pooled: Tensor = self.pool(torch.log1p(self.magnitude(residual)))
        return pooled.reshape(-1, self.spec.dimension)
