"""Autoencoders of the pocket generators."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from lineup_models.pocket.blocks import (
    Activation,
    BlockKind,
    DownKind,
    NormKind,
    ResidualBlock,
    UpKind,
    activation_from_kind,
    downsample,
    norm_from_kind,
    upsample,
)

LOG_VARIANCE_MIN, LOG_VARIANCE_MAX = -12.0, 4.0
LOG_VARIANCE_FIRST = -8.0
"""Little noise at first: with more, faint colours drown in it and are never learned."""

OPPONENT_COLOURS = ((0.6, 0.6, 0.6), (2.0, -2.0, 0.0), (1.0, 1.0, -2.0))
"""Brightness, red against green, both against blue; the faint ones enlarged."""


@dataclass(frozen=True, slots=True)
class VaeSpec:
    """Architecture of an autoencoder.

    Attributes:
        latent_channels: Channels of a latent.
        encoder_widths: Channels per level, at full resolution first; each level halves.
        decoder_widths: Channels per level, at the latent's resolution first; as many.
        blocks: Residual blocks per decoder level.
        up: How the decoder enlarges; `down`, how the encoder reduces.
        norm: Normalisation, also before the output.
    """

    latent_channels: int
    encoder_widths: tuple[int, ...]
    decoder_widths: tuple[int, ...]
    blocks: tuple[int, ...]
    up: UpKind
    down: DownKind
    norm: NormKind
    block: BlockKind = BlockKind.PLAIN
    activation: Activation = Activation.SILU

    @property
    def factor(self) -> int:
        """Return the pixels per latent cell and side."""
        return int(2 ** (len(self.encoder_widths) - 1))

    def latent_shape(self, size_px: int) -> tuple[int, int, int]:
        """Return the shape of the latent of a square picture."""
        side = size_px // self.factor
        return self.latent_channels, side, side


class VaeEncoder(nn.Module):
    """Input float32 (N, 3, H, W), -1..1; output the posterior mean (N, C, H / f, W / f)."""

    def __init__(self, spec: VaeSpec) -> None:
        super().__init__()
        widths = spec.encoder_widths
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 3, padding=1)]
        for before, width in itertools.pairwise(widths):
            layers.append(downsample(spec.down, before, width))
            layers.append(ResidualBlock(spec.block, width, width, spec.norm, spec.activation))
        self.layers = nn.Sequential(*layers)
        self.norm = norm_from_kind(spec.norm, widths[-1])
        self.activation = activation_from_kind(spec.activation)
        self.output = nn.Conv2d(widths[-1], spec.latent_channels, 1)
        self.log_variance = nn.Conv2d(widths[-1], spec.latent_channels, 1)
        self.factor = spec.factor
        self.colour = nn.Conv2d(3, spec.latent_channels, 1, bias=False)
        with torch.no_grad():
            self.colour.weight.zero_()
            self.colour.weight[:3, :, 0, 0] = torch.tensor(OPPONENT_COLOURS)
        nn.init.zeros_(self.log_variance.weight)
        nn.init.constant_(self.log_variance.bias, LOG_VARIANCE_FIRST)  # type: ignore[arg-type]

    def posterior(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and logarithm of the variance of the latents."""
        features = self.activation(self.norm(self.layers(image)))
        log_variance = self.log_variance(features).clamp(LOG_VARIANCE_MIN, LOG_VARIANCE_MAX)
        return self._mean(image, features), log_variance

    def forward(self, image: Tensor) -> Tensor:
        """Return the posterior mean."""
        return self._mean(image, self.activation(self.norm(self.layers(image))))

    def _mean(self, image: Tensor, features: Tensor) -> Tensor:
        # Mean colours of the cells have a path of their own from the first step. Left to be found,
        # the fainter axes of colour were not: brightness explains nearly everything.
        colours = F.avg_pool2d(image, self.factor)
        mean: Tensor = self.output(features) + self.colour(colours)
        return mean


class VaeDecoder(nn.Module):
    """Input float32 (N, C, rows, columns); output (N, 3, f rows, f columns), -1..1, not clipped."""

    def __init__(self, spec: VaeSpec) -> None:
        super().__init__()
        widths = spec.decoder_widths
        layers: list[nn.Module] = [nn.Conv2d(spec.latent_channels, widths[0], 3, padding=1)]
        for level, width in enumerate(widths):
            if level:
                layers.append(upsample(spec.up, widths[level - 1], width))
            layers.extend(
                ResidualBlock(spec.block, width, width, spec.norm, spec.activation)
                for _ in range(spec.blocks[level])
            )
        self.layers = nn.Sequential(*layers)
        self.norm = norm_from_kind(spec.norm, widths[-1])
        self.activation = activation_from_kind(spec.activation)
        self.output = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        """Return the image."""
        features = self.activation(self.norm(self.layers(latents)))
        # Eight bits of mantissa are less than a grey level: the last layer stays exact also where
        # the rest is computed in bfloat16.
        with torch.autocast(features.device.type, enabled=False):
            image: Tensor = self.output(features.float())
        return image


class Vae(nn.Module):
    """Encoder, decoder and the statistics that bring latents to mean 0 and variance 1.

    A denoiser sees `(latent - latent_shift) * latent_scaling`.
    """

    latent_scaling: Tensor
    latent_shift: Tensor

    def __init__(self, spec: VaeSpec) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = VaeEncoder(spec)
        self.decoder = VaeDecoder(spec)
        self.register_buffer("latent_scaling", torch.ones(()))
        self.register_buffer("latent_shift", torch.zeros(()))

    def set_statistics(self, mean: float, variance: float) -> None:
        """Take over mean and variance of the latents of real pictures."""
        self.latent_shift.fill_(mean)
        self.latent_scaling.fill_(1.0 / math.sqrt(variance))

    def latents_from_images(self, images: Tensor) -> Tensor:
        """Return scaled latents, as a denoiser sees them, of images in -1..1."""
        found: Tensor = (self.encoder(images) - self.latent_shift) * self.latent_scaling
        return found

    def images_from_latents(self, latents: Tensor) -> Tensor:
        """Return images of scaled latents."""
        found: Tensor = self.decoder(latents / self.latent_scaling + self.latent_shift)
        return found
