"""The pocket captioner: small vision encoder, autoregressive decoder with a static cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from lineup_models.pocket.blocks import (
    Activation,
    Attention,
    BlockKind,
    Cache,
    NormKind,
    ResidualBlock,
    TransformerBlock,
    mlp,
    stacked,
)
from lineup_models.pocket.text import LENGTH


@dataclass(frozen=True, slots=True)
class CaptionerSpec:
    """Sizes of the captioner.

    Attributes:
        size_px: Side of the pictures; larger ones are reduced by averaging areas.
        stem: Channels of the convolutions, each of stride 2; the last is the tokens' dimension.
        depthwise_blocks: Blocks of the encoder at the resolution of the stem's end.
        vision_blocks: Transformer blocks over the image tokens, at half of that.
        dimension: Of words and image tokens.
        layers: Decoder blocks, whose MLPs are `ratio` times as wide as `dimension`.
        max_tokens: Length of the cache.
    """

    size_px: int = 128
    stem: tuple[int, ...] = (32, 64, 128)
    depthwise_blocks: int = 3
    vision_blocks: int = 1
    dimension: int = 128
    layers: int = 3
    heads: int = 4
    ratio: int = 2
    max_tokens: int = LENGTH

    @property
    def image_tokens(self) -> int:
        """Return the number of image tokens."""
        return int((self.size_px // 2 ** (len(self.stem) + 1)) ** 2)

    @property
    def head_dimension(self) -> int:
        """Return the length of one head's key."""
        return self.dimension // self.heads


class _ImageTokens(nn.Module):
    """Convolutions, then attention; (N, 3, size, size) to (N, image_tokens, dimension)."""

    def __init__(self, spec: CaptionerSpec) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for number, width in enumerate(spec.stem):
            side = 5 if number == 0 else 3
            layers += [nn.Conv2d(before, width, side, stride=2, padding=side // 2)]
            layers += [nn.GroupNorm(4, width), nn.GELU()]
            before = width
        layers += [
            ResidualBlock(BlockKind.DEPTHWISE, before, before, NormKind.GROUP, Activation.GELU)
            for _ in range(spec.depthwise_blocks)
        ]
        layers += [nn.PixelUnshuffle(2), nn.Conv2d(4 * before, spec.dimension, 1)]
        self.layers = nn.Sequential(*layers)
        self.position = nn.Parameter(0.02 * torch.randn(spec.image_tokens, spec.dimension))
        self.blocks = nn.ModuleList(
            TransformerBlock(spec.dimension, spec.heads, ratio=2) for _ in range(spec.vision_blocks)
        )
        self.norm = nn.LayerNorm(spec.dimension)

    def forward(self, pixel_values: Tensor) -> Tensor:
        tokens = self.layers(pixel_values).flatten(2).transpose(1, 2) + self.position
        for block in self.blocks:
            tokens = block(tokens)
        found: Tensor = self.norm(tokens)
        return found


class _DecoderBlock(nn.Module):
    """Causal self-attention, attention to the picture, MLP."""

    def __init__(self, spec: CaptionerSpec) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(spec.dimension)
        self.itself = Attention(spec.dimension, spec.heads)
        self.norm2 = nn.LayerNorm(spec.dimension)
        self.picture = Attention(spec.dimension, spec.heads)
        self.norm3 = nn.LayerNorm(spec.dimension)
        self.mlp = mlp(spec.dimension, spec.ratio)

    def forward(
        self,
        features: Tensor,
        past: tuple[Tensor, Tensor],
        cross: tuple[Tensor, Tensor],
        mask: Tensor,
    ) -> Tensor:
        features = features + self.itself.attended(self.norm1(features), *past, mask)
        features = features + self.picture.attended(self.norm2(features), *cross)
        found: Tensor = features + self.mlp(self.norm3(features))
        return found


class Captioner(nn.Module):
    """Encoder and decoder as they are trained; the graphs of a bundle are views of it."""

    def __init__(self, spec: CaptionerSpec, words: int) -> None:
        super().__init__()
        self.spec = spec
        self.image_tokens = _ImageTokens(spec)
        self.embedding = nn.Embedding(words, spec.dimension)
        self.position = nn.Parameter(0.2 * torch.randn(spec.max_tokens, spec.dimension))
        nn.init.normal_(self.embedding.weight, std=0.5)
        self.layers = nn.ModuleList(_DecoderBlock(spec) for _ in range(spec.layers))
        self.norm = nn.LayerNorm(spec.dimension)
        self.output = nn.Linear(spec.dimension, words)

    @property
    def blocks(self) -> list[_DecoderBlock]:
        """Return the decoder's blocks."""
        return cast(list[_DecoderBlock], list(self.layers))

    def cross_keys_values(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values of the pictures, (N, layers, heads, image_tokens, D / heads)."""
        tokens = self.image_tokens(pixel_values)
        return stacked(block.picture.keys_values(tokens) for block in self.blocks)

    def forward(self, pixel_values: Tensor, tokens: Tensor) -> Tensor:
        """Return logits (N, length, words) for the word after each of `tokens` (N, length)."""
        cross_keys, cross_values = self.cross_keys_values(pixel_values)
        length = tokens.shape[1]
        features = self.embedding(tokens) + self.position[:length]
        mask = torch.ones(length, length, dtype=torch.bool, device=tokens.device).tril()
        for number, block in enumerate(self.blocks):
            past = block.itself.keys_values(block.norm1(features))
            cross = cross_keys[:, number], cross_values[:, number]
            features = block(features, past, cross, mask)
        logits: Tensor = self.output(self.norm(features))
        return logits


class VisionEncoder(nn.Module):
    """Graph `vision_encoder`: `pixel_values` to `cross_keys` and `cross_values`."""

    def __init__(self, captioner: Captioner) -> None:
        super().__init__()
        self.captioner = captioner

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Return what every caption of the picture attends to."""
        return self.captioner.cross_keys_values(pixel_values)


class TextDecoder(nn.Module):
    """Graph `text_decoder`: one token of each sequence, with a cache of fixed length.

    Inputs `tokens` int64 (N,), `position` int64 (1,), `past_keys` and `past_values` float32
    (N, layers, heads, max_tokens, D / heads), `cross_keys` and `cross_values` as the vision
    encoder puts them out. Outputs `logits` (N, words), `keys` and `values`: the past with the
    entry at `position` written. Entries after `position` are not looked at.
    """

    def __init__(self, captioner: Captioner) -> None:
        super().__init__()
        self.captioner = captioner

    def forward(
        self,
        tokens: Tensor,
        position: Tensor,
        past_keys: Tensor,
        past_values: Tensor,
        cross_keys: Tensor,
        cross_values: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the logits of the next token and the cache."""
        model = self.captioner
        cache = Cache(past_keys, past_values, position)
        features = (model.embedding(tokens) + model.position[position])[:, None]
        for number, block in enumerate(model.blocks):
            past = cache.update(*block.itself.keys_values(block.norm1(features)))
            cross = cross_keys[:, number], cross_values[:, number]
            features = block(features, past, cross, cache.seen)
        logits = model.output(model.norm(features[:, 0]))
        return logits, *stacked(cache.written)
