"""Extractors: from rows of log-spectra to embeddings of length 1."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from lineup.errors import UsageError
from lineup_models.fingerprint.covariance import FoundAxes
from lineup_models.fingerprint.spec import SpectrumSpec
from lineup_models.research.oneforall.backbones import MapNetwork, ResNet


class ExtractorKind(str, Enum):
    """Which network, on which kind of spectrum."""

    WHITENED = "whitened"
    """The closed-form fingerprint plus a learned correction."""

    RESNET50 = "resnet50"
    """ResNet-50 on the raw log-spectrum, as published."""


@dataclass(frozen=True, slots=True)
class ExtractorSpec:
    """Sizes of an extractor.

    Attributes:
        kind: Which network.
        width: Channels (whitened), or inner channels of the first stage (ResNet).
        blocks: Residual blocks (whitened), or bottlenecks of each stage (ResNet).
        embedding: Length of the embedding (ResNet); the whitened one has the map's size.
    """

    kind: ExtractorKind = ExtractorKind.WHITENED
    width: int = 48
    blocks: tuple[int, ...] = (6,)
    embedding: int = 256


LEAN = ExtractorSpec()
RESNET50 = ExtractorSpec(ExtractorKind.RESNET50, width=64, blocks=(3, 4, 6, 3), embedding=256)


class Whitened(nn.Module):
    """Rows of pooled log-spectra to whitened maps in units of the floor's deviation.

    z = V diag(1 / sqrt(e + f)) V' d + (d - V V' d) / sqrt(f), d = v - mean.
    Input and output float32 (N, dimension).
    """

    mean: Tensor
    axes: Tensor
    unit: Tensor

    def __init__(self, whitening: FoundAxes) -> None:
        super().__init__()
        gains = 1.0 - np.sqrt(whitening.floor / (whitening.variances + whitening.floor))
        axes = whitening.axes.astype(np.float64) * np.sqrt(gains)[:, None]
        self.register_buffer("mean", torch.from_numpy(whitening.mean.astype(np.float32)))
        self.register_buffer("axes", torch.from_numpy(axes.astype(np.float32)))
        self.register_buffer("unit", torch.tensor(float(whitening.floor) ** -0.5))

    def forward(self, rows: Tensor) -> Tensor:
        """Return the whitened rows."""
        deviation = rows - self.mean
        return (deviation - F.linear(deviation, self.axes) @ self.axes) * self.unit


class WhitenedExtractor(nn.Module):
    """normalise(z + g(z)): z the whitened spectrum, g a network that starts at zero.

    Before training this is the closed-form fingerprint itself.
    """

    def __init__(self, spec: ExtractorSpec, spectrum: SpectrumSpec, whitening: FoundAxes) -> None:
        super().__init__()
        if spectrum.pool_height % 2 or spectrum.pool_width % 2:
            raise UsageError(
                f"The extractor halves its maps; {spectrum.pool_height} x {spectrum.pool_width} "
                "cells cannot be halved.",
                hint="Choose an even pool_height and pool_width.",
            )
        self.shape = (1, spectrum.pool_height, spectrum.pool_width)
        self.dimension = spectrum.dimension
        self.whitened = Whitened(whitening)
        self.network = MapNetwork(spec.width, sum(spec.blocks))

    def forward(self, rows: Tensor) -> Tensor:
        """Return embeddings of length 1, float32 (N, dimension)."""
        whitened, correction = self.parts(rows)
        return F.normalize(whitened + correction, dim=1)

    def parts(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the closed-form fingerprint and the correction, neither normalised."""
        whitened: Tensor = self.whitened(rows)
        correction = self.network(whitened.reshape(-1, *self.shape))
        return whitened, correction.reshape(-1, self.dimension)


class ResNetExtractor(nn.Module):
    """ResNet on the raw log-spectrum, then unit length."""

    def __init__(self, spec: ExtractorSpec, spectrum: SpectrumSpec) -> None:
        super().__init__()
        self.shape = (1, spectrum.pool_height, spectrum.pool_width)
        self.dimension = spec.embedding
        self.network = ResNet(spec.embedding, spec.blocks, spec.width)

    def forward(self, rows: Tensor) -> Tensor:
        """Return embeddings of length 1, float32 (N, dimension)."""
        return F.normalize(self.network(rows.reshape(-1, *self.shape)), dim=1)


Extractor = WhitenedExtractor | ResNetExtractor


def extractor_from_spec(
    spec: ExtractorSpec, spectrum: SpectrumSpec, whitening: FoundAxes | None, *, seed: int
) -> Extractor:
    """Return an extractor with weights drawn from `seed`.

    Args:
        spec: Which network and sizes.
        spectrum: The rows it will get.
        whitening: Needed by the whitened kind.
        seed: Of the weights; torch's own random state stays as it is.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if spec.kind is ExtractorKind.RESNET50:
            return ResNetExtractor(spec, spectrum)
        assert whitening is not None
        return WhitenedExtractor(spec, spectrum, whitening)


class FingerprintNetwork(nn.Module):
    """Pixels to fingerprints, the whole graph.

    Inputs: `tiles` uint8 (tiles, size, size, 3), RGB, and `tile_weights` float32 (images, tiles),
    whose row i holds 1/T_i at image i's tiles and 0 elsewhere.
    Output: float32 (images, dimension), rows of length 1.

    Args:
        spectrum: Tiles to rows of log-spectra.
        extractor: Rows to embeddings.
    """

    def __init__(self, spectrum: nn.Module, extractor: Extractor) -> None:
        super().__init__()
        self.spectrum = spectrum
        self.extractor = extractor

    def forward(self, tiles: Tensor, tile_weights: Tensor) -> Tensor:
        """Return one fingerprint per row of `tile_weights`."""
        fingerprints: Tensor = self.extractor(torch.matmul(tile_weights, self.spectrum(tiles)))
        return fingerprints
