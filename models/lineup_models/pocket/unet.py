"""Denoisers of the pocket generators: UNets with cross-attention to the caption."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from lineup_models.pocket.blocks import (
    Activation,
    Attention,
    BlockKind,
    DownKind,
    NormKind,
    ResidualBlock,
    UpKind,
    activation_from_kind,
    downsample,
    mlp,
    norm_from_kind,
    upsample,
)

TIME_FEATURES = 64
TIME_PERIOD_MAX = 10_000.0


@dataclass(frozen=True, slots=True)
class UNetSpec:
    """Architecture of a denoiser.

    Attributes:
        latent_channels: Channels of a latent.
        widths: Channels per level, at the latent's resolution first; each level halves.
        blocks: Residual blocks per level, on the way down and on the way up.
        attention: Levels with attention to the caption, by number.
        self_attention: Levels, among those, whose cells attend to each other as well.
        text_dimension: Of a token's state.
        up: How the decoder enlarges; `down`, how the encoder reduces.
    """

    latent_channels: int
    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    attention: tuple[int, ...]
    self_attention: tuple[int, ...]
    text_dimension: int
    up: UpKind = UpKind.NEAREST
    down: DownKind = DownKind.STRIDED
    norm: NormKind = NormKind.GROUP
    block: BlockKind = BlockKind.PLAIN
    activation: Activation = Activation.SILU
    heads: int = 4


class _TimeEmbedding(nn.Module):
    """Sines and cosines of the timestep, then an MLP; float32 (N,) to (N, `dimension`)."""

    frequencies: Tensor

    def __init__(self, dimension: int) -> None:
        super().__init__()
        half = TIME_FEATURES // 2
        exponents = torch.arange(half, dtype=torch.float32) / half
        self.register_buffer(
            "frequencies", torch.exp(-math.log(TIME_PERIOD_MAX) * exponents), persistent=False
        )
        self.mlp = nn.Sequential(
            nn.Linear(TIME_FEATURES, dimension), nn.SiLU(), nn.Linear(dimension, dimension)
        )

    def forward(self, timestep: Tensor) -> Tensor:
        angles = timestep[:, None] * self.frequencies
        found: Tensor = self.mlp(torch.cat([angles.sin(), angles.cos()], dim=1))
        return found


class _CaptionAttention(nn.Module):
    """Lets cells attend to each other and to the caption; (N, C, rows, columns) to the same."""

    def __init__(self, channels: int, spec: UNetSpec, *, itself: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.itself = Attention(channels, spec.heads) if itself else None
        self.norm2 = nn.LayerNorm(channels)
        self.caption = Attention(channels, spec.heads, spec.text_dimension)
        self.norm3 = nn.LayerNorm(channels)
        self.mlp = mlp(channels, 2)

    def forward(self, features: Tensor, text_states: Tensor) -> Tensor:
        images, channels, rows, columns = features.shape
        cells = features.flatten(2).transpose(1, 2)
        if self.itself is not None:
            cells = cells + self.itself(self.norm1(cells))
        cells = cells + self.caption(self.norm2(cells), text_states)
        cells = cells + self.mlp(self.norm3(cells))
        found: Tensor = cells.transpose(1, 2).reshape(images, channels, rows, columns)
        return found


class _Level(nn.Module):
    """Residual blocks of one resolution, each followed by attention where the level has it."""

    def __init__(self, spec: UNetSpec, level: int, inputs: int, embedding: int) -> None:
        super().__init__()
        width = spec.widths[level]
        sizes = [inputs, *[width] * (spec.blocks[level] - 1)]
        self.blocks = nn.ModuleList(
            ResidualBlock(spec.block, size, width, spec.norm, spec.activation, embedding)
            for size in sizes
        )
        itself = level in spec.self_attention
        self.attention = (
            _CaptionAttention(width, spec, itself=itself) if level in spec.attention else None
        )

    def forward(self, features: Tensor, embedding: Tensor, text_states: Tensor) -> Tensor:
        for block in self.blocks:
            features = block(features, embedding)
        if self.attention is not None:
            features = self.attention(features, text_states)
        return features


class UNet(nn.Module):
    """A denoiser with the signature of a generator bundle's graph `unet`.

    Inputs float32 `latents` (N, C, rows, columns), `timestep` (N,) 0..999, `text_states`
    (N, length, text_dimension); output (N, C, rows, columns).
    """

    def __init__(self, spec: UNetSpec) -> None:
        super().__init__()
        self.spec = spec
        widths, last = spec.widths, len(spec.widths) - 1
        embedding = 2 * widths[0]
        self.time = _TimeEmbedding(embedding)
        self.input = nn.Conv2d(spec.latent_channels, widths[0], 3, padding=1)
        self.down_levels = nn.ModuleList(
            _Level(spec, level, width, embedding) for level, width in enumerate(widths)
        )
        self.downs = nn.ModuleList(
            downsample(spec.down, widths[level], widths[level + 1]) for level in range(last)
        )
        self.ups = nn.ModuleList(
            upsample(spec.up, widths[level + 1], widths[level]) for level in range(last)
        )
        self.up_levels = nn.ModuleList(
            _Level(spec, level, 2 * widths[level], embedding) for level in range(last)
        )
        self.norm = norm_from_kind(spec.norm, widths[0])
        self.activation = activation_from_kind(spec.activation)
        self.output = nn.Conv2d(widths[0], spec.latent_channels, 3, padding=1)
        nn.init.zeros_(self.output.weight)

    def forward(self, latents: Tensor, timestep: Tensor, text_states: Tensor) -> Tensor:
        """Return the prediction."""
        embedding = self.activation(self.time(timestep))
        features = self.input(latents)
        kept: list[Tensor] = []
        last = len(self.downs)
        for level in range(last):
            features = self.down_levels[level](features, embedding, text_states)
            kept.append(features)
            features = self.downs[level](features)
        features = self.down_levels[last](features, embedding, text_states)
        for level in reversed(range(last)):
            features = torch.cat([self.ups[level](features), kept[level]], dim=1)
            features = self.up_levels[level](features, embedding, text_states)
        prediction: Tensor = self.output(self.activation(self.norm(features)))
        return prediction


@dataclass(frozen=True, slots=True)
class TranslatorSpec:
    """Architecture of what comes before and after the denoiser's trunk.

    Attributes:
        latent_channels: Channels of the generator's own latents.
        fold: Own latent cells per cell of the trunk and side: 1 or 2.
        widths: Channels at the trunk's resolution and at the own one.
        blocks: Residual blocks there.
        up: How features are enlarged between the two, where `fold` is 2.
    """

    latent_channels: int
    fold: int
    widths: tuple[int, int]
    blocks: tuple[int, int]
    up: UpKind = UpKind.NEAREST
    norm: NormKind = NormKind.GROUP
    block: BlockKind = BlockKind.PLAIN
    activation: Activation = Activation.SILU


def translator(spec: TranslatorSpec, inputs: int) -> nn.Sequential:
    """Return what turns the trunk's latents into the generator's own.

    Input float32 (N, C, rows, columns); output (N, own C, fold rows, fold columns).
    """

    def block(width: int) -> nn.Module:
        return ResidualBlock(spec.block, width, width, spec.norm, spec.activation)

    coarse, fine = spec.widths
    layers: list[nn.Module] = [nn.Conv2d(inputs, coarse, 3, padding=1)]
    layers += [block(coarse) for _ in range(spec.blocks[0])]
    folds = spec.fold == 2
    layers.append(
        upsample(spec.up, coarse, fine) if folds else nn.Conv2d(coarse, fine, 3, padding=1)
    )
    layers += [block(fine) for _ in range(spec.blocks[1])]
    layers += [norm_from_kind(spec.norm, fine), activation_from_kind(spec.activation)]
    layers.append(nn.Conv2d(fine, spec.latent_channels, 3, padding=1))
    return nn.Sequential(OrderedDict(layers=nn.Sequential(*layers)))


class TranslatedUNet(nn.Module):
    """A denoiser whose trunk can start from the teacher, with the signature of a `UNet`.

    Inputs and output have the generator's own latents: a linear layer brings them to the trunk's
    shape, a translator brings back what the trunk finds.
    """

    def __init__(self, trunk: UNetSpec, spec: TranslatorSpec) -> None:
        super().__init__()
        self.fold = spec.fold
        self.entry = nn.Conv2d(spec.latent_channels * spec.fold**2, trunk.latent_channels, 1)
        self.trunk = UNet(trunk)
        self.translator = translator(spec, trunk.latent_channels)

    def take_noise_as_teacher(self, matrix: Tensor) -> None:
        """Let the first layer undo a `NoiseMap` matrix: the trunk sees the teacher's noise."""
        with torch.no_grad():
            self.entry.weight.copy_(matrix[:, : self.entry.out_channels].T[:, :, None, None])
            self.entry.bias.zero_()  # type: ignore[union-attr]

    def forward(self, latents: Tensor, timestep: Tensor, text_states: Tensor) -> Tensor:
        """Return the prediction."""
        entered = self.entry(F.pixel_unshuffle(latents, self.fold))
        found: Tensor = self.translator(self.trunk(entered, timestep, text_states))
        return found
