"""The denoiser that takes the content out of an image, its training, and the spectrum after it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lineup.types import RgbTiles
from lineup_models.fingerprint.covariance import FoundAxes, PrincipalAxes
from lineup_models.fingerprint.spec import SpectrumSpec
from lineup_models.fingerprint.spectrum import PooledSpectrum
from lineup_models.photographs import crop_from_path, crops_from_paths
from lineup_models.simulator.features import FeatureFunction
from lineup_models.training import LoopOptions, Task, seeded


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
    with seeded(seed):
        return Denoiser(spec)


class DenoisedSpectrum(PooledSpectrum):
    """The log-spectra of the denoiser's residual; the spec's residual filter plays no part.

    log(1 + |F|) of the mean residual over the channels, F orthonormal and the residual in grey
    levels, on the half plane, pooled to `pool_height` x `pool_width` cells of `spec` (256 x 129
    for tiles of 256 px pools nothing).
    """

    def __init__(self, denoiser: Denoiser, spec: SpectrumSpec) -> None:
        super().__init__(spec)
        self.denoiser = denoiser

    def levels(self, tiles: Tensor) -> Tensor:
        """Return each tile's full log-spectrum."""
        images = tiles.to(torch.float32).permute(0, 3, 1, 2)
        return torch.log1p(self.magnitude(self.denoiser(images).mean(dim=1)))


@dataclass(frozen=True, slots=True)
class DenoiserOptions:
    """How the denoiser is trained.

    Attributes:
        loop: Steps and learning rate.
        crop_px: Side of the training crops.
        photographs_per_step: Photographs that are decoded for a step.
        crops_per_photograph: Crops of each, with noise of their own.
        sigma_min: Least noise, standard deviation in grey levels.
        sigma_max: Most noise; drawn log-uniformly per crop.
    """

    loop: LoopOptions = field(default_factory=lambda: LoopOptions(1500, 2e-3))
    crop_px: int = 64
    photographs_per_step: int = 4
    crops_per_photograph: int = 4
    sigma_min: float = 1.0
    sigma_max: float = 10.0


class DenoiserTask(Task):
    """Trains a denoiser in place; `seed` is that of crops and noise."""

    def __init__(
        self,
        denoiser: Denoiser,
        paths: Sequence[Path],
        options: DenoiserOptions,
        *,
        seed: int,
        device: torch.device,
    ) -> None:
        denoiser.to(device).train().requires_grad_(True)
        settings = {"sizes": asdict(denoiser.spec), "denoiser": asdict(options)}
        super().__init__("denoiser", denoiser, settings)
        self.denoiser, self.paths, self.options = denoiser, paths, options
        self.seed, self.device = seed, device

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Return the squared error in units of each crop's noise variance; 1 for no denoising."""
        clean, noise, sigma = self._batch(step)
        found = self.denoiser(clean + noise)
        error = ((found - noise) / sigma).square().mean()
        return error, {"relative_error": error.item()}

    def _batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return clean crops and noise, (N, 3, size, size), and its deviation, (N, 1, 1, 1)."""
        options = self.options
        random = np.random.default_rng([self.seed, step])
        crops = training_crops(self.paths, options, random)
        clean = torch.from_numpy(crops).permute(0, 3, 1, 2).to(torch.float32)
        low, high = math.log(options.sigma_min), math.log(options.sigma_max)
        drawn = np.exp(random.uniform(low, high, (len(clean), 1, 1, 1))).astype(np.float32)
        sigma = torch.from_numpy(drawn)
        noise = torch.from_numpy(random.standard_normal(clean.shape, np.float32)) * sigma
        return clean.to(self.device), noise.to(self.device), sigma.to(self.device)


def training_crops(
    paths: Sequence[Path], options: DenoiserOptions, random: np.random.Generator
) -> RgbTiles:
    """Return crops, uint8 (N, crop_px, crop_px, 3), several of each photograph.

    Decoding a photograph costs more than a step on a small crop, so a larger crop is drawn once
    and cut at random places.
    """
    size, count = options.crop_px, options.crops_per_photograph
    return np.stack(
        [
            crop[top : top + size, left : left + size]
            for crop in crops_from_paths(paths, 2 * size, options.photographs_per_step, random)
            for top, left in random.integers(0, size, (count, 2), endpoint=True)
        ]
    )


class ResidualSource(str, Enum):
    """What takes the content out of an image."""

    FILTER = "filter"
    """The closed-form filter of the spectrum's settings."""

    DENOISER = "denoiser"
    """The trained denoiser."""


def spectrum_module(spec: SpectrumSpec, denoiser: Denoiser | None) -> PooledSpectrum:
    """Return the module from tiles to rows of log-spectra; frozen, in evaluation mode."""
    module = PooledSpectrum(spec) if denoiser is None else DenoisedSpectrum(denoiser, spec)
    return module.eval().requires_grad_(False)


def whitening_of_photographs(
    paths: Iterable[Path], spec: SpectrumSpec, features: FeatureFunction, *, seed: int
) -> FoundAxes:
    """Fit mean and principal axes on a random crop of each photograph, none of them held out."""
    principal = PrincipalAxes(spec.dimension)
    for index, path in enumerate(paths):
        random = np.random.default_rng([seed, index])
        principal.add(features([crop_from_path(path, spec.tile_size_px, random)])[0])
    return principal.found(axes=spec.axes, floor=spec.floor)
