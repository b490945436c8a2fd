"""The extractor: log-spectra to embeddings, by a ResNet-50 as published or a lean map network."""

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
from lineup_models.fingerprint.spectrum import PooledSpectrum
from lineup_models.simulator.network import ResidualBlock
from lineup_models.training import seeded

EXPANSION = 4
"""Output channels of a bottleneck over its inner ones."""


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Return a convolution without bias and its batch norm."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 around a shortcut; the stride is on the 3x3, as in ResNet v1.5."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * EXPANSION
        self.reduce = _convolution(inputs, width, 1)
        self.filter = _convolution(width, width, 3, stride)
        self.expand = _convolution(width, outputs, 1)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else _convolution(inputs, outputs, 1, stride)

    def forward(self, features: Tensor) -> Tensor:
        """Return (N, EXPANSION * width, height / stride, width / stride)."""
        added = F.relu(self.filter(F.relu(self.reduce(features))))
        return F.relu(self.expand(added) + self.shortcut(features))


class ResNet(nn.Module):
    """Bottleneck ResNet; the defaults are ResNet-50 with one input channel.

    `width` is that of the first stage's inner channels and doubles from stage to stage.

    Input float32 (N, 1, height, width); output float32 (N, embedding), not normalised.
    """

    def __init__(
        self, embedding: int, blocks: tuple[int, ...] = (3, 4, 6, 3), width: int = 64
    ) -> None:
        super().__init__()
        self.stem = _convolution(1, width, 7, 2)
        stages: list[nn.Module] = []
        inputs = width
        for stage, count in enumerate(blocks):
            inner = width << stage
            for block in range(count):
                stages.append(Bottleneck(inputs, inner, 2 if stage > 0 and block == 0 else 1))
                inputs = inner * EXPANSION
        self.stages = nn.Sequential(*stages)
        self.project = nn.Linear(inputs, embedding)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, maps: Tensor) -> Tensor:
        """Return one embedding per map."""
        features = F.max_pool2d(F.relu(self.stem(maps)), 3, stride=2, padding=1)
        pooled = self.stages(features).mean(dim=(2, 3))
        embedding: Tensor = self.project(pooled)
        return embedding


class MapNetwork(nn.Module):
    """Whitened spectrum map to a correction of it, zero at the start of the training.

    Works at half the map's resolution. Without norms an image's output depends on nothing else
    in the batch, and the strength of its spectrum stays visible.

    Input and output float32 (N, 1, height, width), height and width even.
    """

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, width, 4, stride=2, padding=1)
        self.blocks = nn.Sequential(*(ResidualBlock(width, F.relu) for _ in range(blocks)))
        self.head = nn.Conv2d(width, 4, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        for name, parameter in self.named_parameters():
            if name.endswith(("second.bias", "head.bias")):
                nn.init.zeros_(parameter)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the correction."""
        # Peaks and dips of the spectrum tell of different things; both at hand from the start.
        features = self.stem(torch.cat([maps, maps.abs()], dim=1))
        return F.pixel_shuffle(self.head(F.relu(self.blocks(features))), 2)


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
        axes = whitening.damped_axes()
        self.register_buffer("mean", torch.from_numpy(whitening.mean.astype(np.float32)))
        self.register_buffer("axes", torch.from_numpy(axes.astype(np.float32)))
        self.register_buffer("unit", torch.tensor(float(whitening.floor) ** -0.5))

    def forward(self, rows: Tensor) -> Tensor:
        """Return the whitened rows."""
        deviation = rows - self.mean
        return (deviation - F.linear(deviation, self.axes) @ self.axes) * self.unit


class Extractor(nn.Module):
    """Rows of log-spectra, float32 (N, rows), to embeddings of length 1, float32 (N, dimension)."""

    def __init__(self, spec: ExtractorSpec, spectrum: SpectrumSpec, dimension: int) -> None:
        super().__init__()
        self.spec, self.spectrum, self.dimension = spec, spectrum, dimension
        self.shape = (1, spectrum.pool_height, spectrum.pool_width)


class WhitenedExtractor(Extractor):
    """normalise(z + g(z)): z the whitened spectrum, g a network that starts at zero.

    Before training this is the closed-form fingerprint itself.
    """

    def __init__(self, spec: ExtractorSpec, spectrum: SpectrumSpec, whitening: FoundAxes) -> None:
        super().__init__(spec, spectrum, spectrum.dimension)
        if spectrum.pool_height % 2 or spectrum.pool_width % 2:
            raise UsageError(
                f"The extractor halves its maps; {spectrum.pool_height} x {spectrum.pool_width} "
                "cells cannot be halved.",
                hint="Choose an even pool_height and pool_width.",
            )
        self.whitened = Whitened(whitening)
        self.network = MapNetwork(spec.width, sum(spec.blocks))

    def forward(self, rows: Tensor) -> Tensor:
        """Return the embeddings."""
        whitened, correction = self.parts(rows)
        return F.normalize(whitened + correction, dim=1)

    def parts(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the closed-form fingerprint and the correction, neither normalised."""
        whitened: Tensor = self.whitened(rows)
        correction = self.network(whitened.reshape(-1, *self.shape))
        return whitened, correction.reshape(-1, self.dimension)


class ResNetExtractor(Extractor):
    """ResNet on the raw log-spectrum, then unit length."""

    def __init__(self, spec: ExtractorSpec, spectrum: SpectrumSpec) -> None:
        super().__init__(spec, spectrum, spec.embedding)
        self.network = ResNet(spec.embedding, spec.blocks, spec.width)

    def forward(self, rows: Tensor) -> Tensor:
        """Return the embeddings."""
        return F.normalize(self.network(rows.reshape(-1, *self.shape)), dim=1)


def extractor_from_spec(
    spec: ExtractorSpec, spectrum: SpectrumSpec, whitening: FoundAxes | None, *, seed: int
) -> Extractor:
    """Return an extractor with weights drawn from `seed`; the whitened kind needs a whitening."""
    with seeded(seed):
        if spec.kind is ExtractorKind.RESNET50:
            return ResNetExtractor(spec, spectrum)
        assert whitening is not None
        return WhitenedExtractor(spec, spectrum, whitening)


class FingerprintNetwork(nn.Module):
    """Pixels to fingerprints, the whole graph.

    Inputs: `tiles` uint8 (tiles, size, size, 3), RGB, and `tile_weights` float32 (images, tiles),
    whose row i holds 1/T_i at image i's tiles and 0 elsewhere.
    Output: float32 (images, dimension), rows of length 1.
    """

    def __init__(self, spectrum: PooledSpectrum, extractor: Extractor) -> None:
        super().__init__()
        self.spectrum = spectrum
        self.extractor = extractor

    def forward(self, tiles: Tensor, tile_weights: Tensor) -> Tensor:
        """Return one fingerprint per row of `tile_weights`."""
        fingerprints: Tensor = self.extractor(torch.matmul(tile_weights, self.spectrum(tiles)))
        return fingerprints
