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
from lineup_models.research.oneforall.extractor import ResNet

TILE_PX = 256
SPECTRUM_PX = 222
"""Side of the residual: every one of the 17 valid 3x3 convolutions takes a pixel off each edge."""

DENOISER_LAYERS = 17
DENOISER_CHANNELS = 64
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


def resnet50(dimension: int = EMBEDDING_DIMENSION) -> ResNet:
    """Return ResNet-50 for three channels, with an embedding in place of its classes."""
    network = ResNet(dimension)
    network.stem[0] = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
    return network


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
