"""The simulator of generators: encoder, super-network of decoders, and the file that holds it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from lineup.types import RgbImage
from lineup_models.simulator.architecture import LEVELS, SPACES, Architecture, Norm, SearchSpace
from lineup_models.simulator.cells import Statistics, StyledNorm, VariStruct, VariUp
from lineup_models.training import seeded
from lineup_models.weights_file import WeightsFormat, spec_from_dict

STRENGTH_RANGE = (0.05, 1.0)
"""Of the generators that have noise, in units of the normalised features at half resolution."""

NOISELESS = 0.25
"""Share of generators without any."""


class FeatureNoise:
    """Gaussian noise of one image's decoding.

    Args:
        strength: Standard deviation at half resolution; halved with every coarser level, where it
            would move content rather than texture.
        seed: Of the noise.
    """

    def __init__(self, strength: float, seed: int) -> None:
        self.strength = strength
        self.generator = torch.Generator().manual_seed(seed)

    def added_to(self, features: Tensor, level: int) -> Tensor:
        """Return `features` of `level`, 1 to 3, with noise."""
        noise = torch.randn(features.shape, generator=self.generator).to(features.device)
        return torch.add(features, noise, alpha=self.strength / 2 ** (level - 1))


def noise_strength_from_seed(seed: int) -> float:
    """Draw the noise of a generator: none, or log-uniform over `STRENGTH_RANGE`."""
    random = np.random.default_rng([seed, 3])
    if random.random() < NOISELESS:
        return 0.0
    low, high = np.log(STRENGTH_RANGE)
    return float(np.exp(random.uniform(low, high)))


def noise_of_image(pixels: RgbImage, strength: float, seed: int) -> FeatureNoise:
    """Return the noise that a generator adds to an image: fixed by its seed and the pixels."""
    digest = hashlib.sha256(seed.to_bytes(8, "little") + np.ascontiguousarray(pixels).tobytes())
    return FeatureNoise(strength, int.from_bytes(digest.digest()[:7], "little"))


@dataclass(frozen=True, slots=True)
class SimulatorSpec:
    """Sizes of the network.

    Attributes:
        widths: Channels at full resolution, then at 1/2, 1/4 and 1/8; multiples of 8.
        latent_channels: Channels of the features that a decoder starts from, at 1/2, 1/4, 1/8.
            Fewer numbers than pixels, so that decoders have to make up detail, as generators do.
        style: Length of the style vector.
    """

    widths: tuple[int, int, int, int] = (24, 32, 64, 128)
    latent_channels: tuple[int, int, int] = (8, 12, 16)
    style: int = 32


class ResidualBlock(nn.Module):
    """Two convolutions, each after an activation, added to the input."""

    def __init__(self, channels: int, activation: Callable[[Tensor], Tensor] = F.silu) -> None:
        super().__init__()
        self.activation = activation
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        # Starts as the identity.
        nn.init.zeros_(self.second.weight)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape."""
        added: Tensor = self.second(self.activation(self.first(self.activation(features))))
        return features + added


class Encoder(nn.Module):
    """Image to features at 1/2, 1/4 and 1/8 of the resolution.

    Input float32 (N, 3, H, W), -1..1; output for level i: float32 (N, latent_channels[i - 1],
    H / 2^i, W / 2^i).
    """

    def __init__(self, spec: SimulatorSpec) -> None:
        super().__init__()
        inputs = (12, *spec.widths[1:LEVELS])
        self.trunk = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, stride=1 if level == 0 else 2, padding=1),
                ResidualBlock(after),
            )
            for level, (before, after) in enumerate(zip(inputs, spec.widths[1:], strict=True))
        )
        self.latents = nn.ModuleList(
            nn.Conv2d(width, channels, 1)
            for width, channels in zip(spec.widths[1:], spec.latent_channels, strict=True)
        )

    def forward(self, image: Tensor, level: int) -> Tensor:
        """Return the features of `level`, 1 to 3; coarser ones are not computed."""
        features = _interleaved(F.pixel_unshuffle(image, 2))
        for stage in self.trunk[:level]:
            features = stage(features)
        latent: Tensor = self.latents[level - 1](features)
        return latent


class Simulator(nn.Module):
    """Reconstructs images through the decoder architecture that the caller names.

    Input float32 (N, 3, H, W), 0..1, H and W divisible by 8; output the same shape, about 0..1
    but not clipped.
    """

    def __init__(self, space: SearchSpace, spec: SimulatorSpec | None = None) -> None:
        super().__init__()
        self.space = space
        self.spec = spec = spec or SimulatorSpec()
        self.encoder = Encoder(spec)
        self.stems = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), ResidualBlock(width))
            for channels, width in zip(spec.latent_channels, spec.widths[1:], strict=True)
        )
        self.styles = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * channels, spec.style), nn.SiLU())
            for channels in spec.latent_channels
        )
        self.upsamplers = nn.ModuleDict(
            {
                f"{level}x{factor}": VariUp(
                    spec.widths[level],
                    spec.widths[level - factor.bit_length() + 1],
                    factor,
                    space.upsamplers,
                )
                for level in range(1, space.levels + 1)
                for factor in space.factors
                if factor <= 1 << level
            }
        )
        self.cells = nn.ModuleList(
            VariStruct(width, spec.style)
            for width in spec.widths[: space.levels]
            for _ in range(space.cells_max)
        )
        self.entries = nn.ModuleList(
            StyledNorm(width, spec.style, Norm.GROUP) for width in spec.widths
        )
        self.to_rgb = nn.Conv2d(spec.widths[0], 3, 3, padding=1)
        _keep_variance(self)

    def forward(
        self,
        images: Tensor,
        architecture: Architecture,
        statistics: Statistics | None = None,
        noise: FeatureNoise | None = None,
    ) -> Tensor:
        """Return the reconstructions.

        Args:
            images: The batch; all go through the same architecture.
            architecture: The path to take; must belong to the simulator's search space.
            statistics: Moments that batch norms take; those that are not there are of the batch
                and are put there. None is the batch itself.
            noise: Added to the features before each upsampling; None adds nothing.
        """
        statistics = {} if statistics is None else statistics
        level = architecture.start_scale
        latent = self.encoder(images * 2.0 - 1.0, level)
        deviation, mean = torch.std_mean(latent, dim=(2, 3), correction=0)
        style = self.styles[level - 1](torch.cat([mean, deviation], dim=1))
        features = self.stems[level - 1](latent)
        for step in architecture.levels:
            features = self.entries[level](features, style, f"entry {level}", statistics)
            if noise is not None:
                features = noise.added_to(features, level)
            upsampler = self.upsamplers[f"{level}x{step.factor}"]
            features = _interleaved(upsampler(features, step.upsampler))
            level -= step.doublings
            for position, cell in enumerate(step.cells):
                key = f"{level}.{position}"
                module = self.cells[level * self.space.cells_max + position]
                features = module(features, cell, style, key, statistics)
        features = self.entries[0](features, style, "rgb", statistics)
        rgb: Tensor = self.to_rgb(features)
        return rgb * 0.5 + 0.5


def _interleaved(features: Tensor) -> Tensor:
    """Lay the channels of a pixel side by side: so few are convolved twice as fast on a CPU."""
    return features.contiguous(memory_format=torch.channels_last)


def _keep_variance(simulator: nn.Module) -> None:
    """Let plain convolutions keep the variance of their input; torch's default divides it by 3.

    Over the dozen layers of a path that leaves latents too faint to say what colour an image has.
    """
    for module in simulator.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and bool(module.weight.any()):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


FORMAT = WeightsFormat(
    key="simulator",
    content="trained simulator",
    making="python -m lineup_models.simulator train --photos DIR --output DIR",
)


@dataclass(frozen=True, slots=True)
class TrainedSimulator:
    """A simulator and how it came about.

    Attributes:
        simulator: In evaluation mode.
        record: Data, options, seed, tools, final losses (plain JSON values).
    """

    simulator: Simulator
    record: Mapping[str, Any] = field(default_factory=dict)


def write_simulator(trained: TrainedSimulator, path: Path) -> None:
    """Write the weights (fp32) with search space, sizes and record, whole or not at all."""
    simulator = trained.simulator
    header = {
        "space": simulator.space.name,
        "spec": asdict(simulator.spec),
        "record": dict(trained.record),
    }
    tensors = {name: value.contiguous() for name, value in simulator.state_dict().items()}
    FORMAT.write(path, header, tensors)


def read_simulator(path: Path) -> TrainedSimulator:
    """Read what `write_simulator` wrote.

    Raises:
        BundleNotFoundError: There is no such file.
        BundleFormatError: It holds something else.
    """
    with FORMAT.reading(path) as (header, tensors):
        spec = spec_from_dict(SimulatorSpec, header["spec"])
        with seeded(0):
            simulator = Simulator(SPACES[header["space"]], spec)
        simulator.load_state_dict(tensors)
        return TrainedSimulator(simulator.eval().requires_grad_(False), header["record"])


def perturbed_simulator(simulator: Simulator, seed: int, strength: float) -> Simulator:
    """Return a frozen copy whose decoder weights are moved at random.

    Two trainings of one generator share the architecture and differ in the weights, and so do
    their fingerprints. Noise in proportion to each tensor's own spread gives such siblings at no
    cost; the encoder stays, since it is no part of a generator.

    Args:
        simulator: Not changed.
        seed: Of the noise; the same on every platform that draws torch's CPU normals alike.
        strength: Standard deviation of the noise over that of the tensor.
    """
    copy = deepcopy(simulator)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in copy.named_parameters():
            if name.startswith("encoder.") or parameter.ndim < 2:
                continue
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(noise, alpha=strength * parameter.std(correction=0).item())
    return copy.eval().requires_grad_(False)
