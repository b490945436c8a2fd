"""The published fingerprint pipeline, as a load to measure: weights are random.

A residual by a 17-layer denoiser, the logarithm of its Fourier amplitude, an embedding by
ResNet-50; PyTorch eager, fp32. What it costs does not depend on the weights. What the publication
leaves open is set so: the spectrum enters ResNet-50 with its three colour channels, the embedding
has 512 values, and an image of several tiles has the mean of their embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lineup.types import Float32Array, RgbTiles

TILE_PX = 256
SPECTRUM_PX = 222
"""Side of the residual: every one of the 17 valid 3x3 convolutions takes a pixel off each edge."""

DENOISER_LAYERS = 17
DENOISER_CHANNELS = 64
RESNET50_STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
"""Width, number of blocks and stride of each stage: He et al. 2016, table 1."""

EXPANSION = 4
EMBEDDING_DIMENSION = 512


def denoiser() -> nn.Sequential:
    """Return the residual network (DnCNN): no padding, normalisation on the 15 inner layers."""
    channels = DENOISER_CHANNELS
    layers: list[nn.Module] = [nn.Conv2d(3, channels, 3), nn.ReLU(inplace=True)]
    for _ in range(DENOISER_LAYERS - 2):
        layers += [
            nn.Conv2d(channels, channels, 3, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers, nn.Conv2d(channels, 3, 3))


class Bottleneck(nn.Module):
    """A block of ResNet-50: 1x1, 3x3 (with the stride), 1x1, and the way around them."""

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        channels_out = width * EXPANSION
        self.body = nn.Sequential(
            *_convolution(channels_in, width, 1),
            nn.ReLU(inplace=True),
            *_convolution(width, width, 3, stride),
            nn.ReLU(inplace=True),
            *_convolution(width, channels_out, 1),
        )
        self.shortcut = (
            nn.Sequential(*_convolution(channels_in, channels_out, 1, stride))
            if stride != 1 or channels_in != channels_out
            else nn.Identity()
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, 4 * width, H / stride, W / stride)."""
        return torch.relu_(self.body(features) + self.shortcut(features))


def resnet50(dimension: int = EMBEDDING_DIMENSION) -> nn.Sequential:
    """Return ResNet-50 for three channels, with an embedding in place of its classes."""
    blocks: list[nn.Module] = []
    channels = 64
    for width, count, stride in RESNET50_STAGES:
        for index in range(count):
            blocks.append(Bottleneck(channels, width, stride if index == 0 else 1))
            channels = width * EXPANSION
    return nn.Sequential(
        *_convolution(3, 64, 7, stride=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, padding=1),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, dimension),
    )


def _convolution(
    channels_in: int, channels_out: int, size: int, stride: int = 1
) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    convolution = nn.Conv2d(channels_in, channels_out, size, stride, size // 2, bias=False)
    return convolution, nn.BatchNorm2d(channels_out)


class PublishedPipeline(nn.Module):
    """Denoiser, spectrum and extractor in a row."""

    def __init__(self) -> None:
        super().__init__()
        self.denoiser = denoiser()
        self.extractor = resnet50()

    def forward(self, tiles: Tensor) -> Tensor:
        """Map (N, 256, 256, 3) uint8 RGB to (N, dimension) float32."""
        residual = self.denoiser(tiles.permute(0, 3, 1, 2).float() / 256)
        spectrum = torch.log1p(torch.fft.fft2(residual).abs())
        embedding: Tensor = self.extractor(spectrum)
        return embedding

    @torch.inference_mode()
    def fingerprints_from_tiles(self, images: Sequence[RgbTiles]) -> Float32Array:
        """Compute one fingerprint per image, from the mean of its tiles' embeddings.

        One tile after another, for the least memory; four together were no faster on a CPU.

        Args:
            images: One array per image, shape (tiles, 256, 256, 3), uint8 RGB.

        Returns:
            Shape (images, dimension), float32; every row has length 1.
        """
        means = [
            torch.cat([self(tile[None]) for tile in torch.from_numpy(tiles)]).mean(dim=0)
            for tiles in images
        ]
        fingerprints: Float32Array = nn.functional.normalize(torch.stack(means)).numpy()
        return fingerprints


def open_published(threads: int) -> PublishedPipeline:
    """Return the pipeline with random weights, ready to run on `threads` threads."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    return PublishedPipeline().eval()
