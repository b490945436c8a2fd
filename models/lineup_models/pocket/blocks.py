"""Blocks that the networks are made of: attention, the cache of a decoder, convolution."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from enum import Enum

import torch
from torch import Tensor, nn


def split_heads(features: Tensor, heads: int) -> Tensor:
    """Return (N, heads, length, D / heads) of (N, length, D)."""
    return features.view(*features.shape[:2], heads, -1).transpose(1, 2)


def joined_heads(features: Tensor) -> Tensor:
    """Return (N, length, D) of (N, heads, length, D / heads)."""
    return features.transpose(1, 2).flatten(2)


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017).

    Args:
        dimension: Of queries and output.
        heads: Divides `dimension`.
        context: Dimension of what is attended to; None for self-attention.
    """

    def __init__(self, dimension: int, heads: int, context: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dimension, dimension)
        # Without bias a state of zeros (a padded token) adds nothing to the output.
        self.key = nn.Linear(context or dimension, dimension, bias=False)
        self.value = nn.Linear(context or dimension, dimension, bias=False)
        self.output = nn.Linear(dimension, dimension)

    def keys_values(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values, each (N, heads, length, D / heads), of (N, length, context)."""
        keys, values = self.key(context), self.value(context)
        return split_heads(keys, self.heads), split_heads(values, self.heads)

    def attended(
        self, features: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Return (N, length, D); `mask` is true where a query may look at a key."""
        # Written out: on a CPU the gradient of torch's fused attention takes up to eight times as
        # long for the short contexts here.
        queries = split_heads(self.query(features), self.heads) * keys.shape[-1] ** -0.5
        weights = queries @ keys.transpose(-1, -2)
        if mask is not None:
            weights = weights.masked_fill(~mask, float("-inf"))
        found = weights.softmax(dim=-1) @ values
        output: Tensor = self.output(joined_heads(found))
        return output

    def forward(
        self, features: Tensor, context: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Return (N, length, D)."""
        keys, values = self.keys_values(features if context is None else context)
        return self.attended(features, keys, values, mask)


class Cache:
    """Keys and values of one step: what was there, and the new entry at its position.

    Args:
        past_keys: Shape (sequences, layers, heads, max_tokens, D / heads).
        past_values: The same shape.
        position: int64 (1,), where the new entry goes.
    """

    def __init__(self, past_keys: Tensor, past_values: Tensor, position: Tensor) -> None:
        places = torch.arange(past_keys.shape[3], device=position.device)
        self._past = past_keys, past_values
        self._here = (places == position)[:, None]
        self.seen = (places <= position)[None, None, None, :]
        self.written: list[tuple[Tensor, Tensor]] = []

    def update(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Write the entry (N, heads, 1, D / heads) of the next layer; return all of the layer's."""
        layer = len(self.written)
        keys, values = (
            torch.where(self._here, new.to(past.dtype), past[:, layer])
            for new, past in zip((key, value), self._past, strict=True)
        )
        self.written.append((keys, values))
        return keys, values


def stacked(pairs: Iterable[Iterable[Tensor]]) -> tuple[Tensor, Tensor]:
    """Return keys and values of all layers from those of each."""
    keys, values = zip(*pairs, strict=True)
    return torch.stack(keys, dim=1), torch.stack(values, dim=1)


def mlp(dimension: int, ratio: int) -> nn.Sequential:
    """Return two linear layers with a GELU between them; (..., D) to (..., D)."""
    wide = ratio * dimension
    return nn.Sequential(nn.Linear(dimension, wide), nn.GELU(), nn.Linear(wide, dimension))


class TransformerBlock(nn.Module):
    """Pre-norm block of self-attention and MLP; (N, length, D) to the same."""

    def __init__(self, dimension: int, heads: int, ratio: int = 4) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dimension)
        self.attention = Attention(dimension, heads)
        self.norm2 = nn.LayerNorm(dimension)
        self.mlp = mlp(dimension, ratio)

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the features after the block."""
        features = features + self.attention(self.norm1(features), mask=mask)
        found: Tensor = features + self.mlp(self.norm2(features))
        return found


EPSILON = 1e-5

EXPANSION = 3
"""Channels of the depthwise convolution over those of the block."""


class NormKind(str, Enum):
    """How features are normalised."""

    GROUP = "group"
    LAYER = "layer"
    """Over all channels and pixels of a picture."""
    RMS = "rms"
    """Root mean square over the channels of each pixel."""
    NONE = "none"


class UpKind(str, Enum):
    """How features are enlarged by two."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    PIXEL_SHUFFLE = "pixel-shuffle"
    TRANSPOSED = "transposed"


class DownKind(str, Enum):
    """How features are reduced by two."""

    STRIDED = "strided"
    AVERAGE = "average"
    PIXEL_UNSHUFFLE = "pixel-unshuffle"


class BlockKind(str, Enum):
    """What a residual block consists of."""

    PLAIN = "plain"
    """Two 3x3 convolutions (ResNet v2, He et al. 2016)."""
    DEPTHWISE = "depthwise"
    """3x3 depthwise convolution between pointwise ones (MobileNet v2, Sandler et al. 2018)."""


class Activation(str, Enum):
    """Non-linearity."""

    SILU = "silu"
    GELU = "gelu"
    RELU = "relu"
    LEAKY = "leaky"


class _RmsNorm(nn.Module):
    """Divides each pixel by the root mean square of its channels; float (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        # Squares of half-precision numbers overflow from 256 on.
        mean = features.float().square().mean(dim=1, keepdim=True)
        return features * torch.rsqrt(mean + EPSILON).to(features.dtype) * self.scale


def norm_from_kind(kind: NormKind, channels: int) -> nn.Module:
    """Return the normalisation of (N, `channels`, H, W) features."""
    if kind is NormKind.GROUP:
        return nn.GroupNorm(4, channels, eps=EPSILON)
    if kind is NormKind.LAYER:
        return nn.GroupNorm(1, channels, eps=EPSILON)
    return _RmsNorm(channels) if kind is NormKind.RMS else nn.Identity()


def activation_from_kind(kind: Activation) -> nn.Module:
    """Return the non-linearity."""
    return {
        Activation.SILU: nn.SiLU(),
        Activation.GELU: nn.GELU(),
        Activation.RELU: nn.ReLU(),
        Activation.LEAKY: nn.LeakyReLU(0.2),
    }[kind]


def upsample(kind: UpKind, inputs: int, outputs: int) -> nn.Sequential:
    """Return what enlarges (N, `inputs`, H, W) to (N, `outputs`, 2 H, 2 W)."""
    # The weights are stored under "layer".
    if kind is UpKind.TRANSPOSED:
        return _named(layer=nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1))
    if kind is UpKind.PIXEL_SHUFFLE:
        return _named(
            layer=nn.Conv2d(inputs, 4 * outputs, 3, padding=1), shuffled=nn.PixelShuffle(2)
        )
    enlarged = nn.Upsample(scale_factor=2.0, mode=kind.value)
    return _named(enlarged=enlarged, layer=nn.Conv2d(inputs, outputs, 3, padding=1))


def downsample(kind: DownKind, inputs: int, outputs: int) -> nn.Sequential:
    """Return what reduces (N, `inputs`, 2 H, 2 W) to (N, `outputs`, H, W)."""
    if kind is DownKind.STRIDED:
        return _named(layer=nn.Conv2d(inputs, outputs, 3, stride=2, padding=1))
    if kind is DownKind.PIXEL_UNSHUFFLE:
        return _named(reduced=nn.PixelUnshuffle(2), layer=nn.Conv2d(4 * inputs, outputs, 1))
    return _named(reduced=nn.AvgPool2d(2), layer=nn.Conv2d(inputs, outputs, 3, padding=1))


def _named(**layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))


class ResidualBlock(nn.Module):
    """A residual block; (N, `inputs`, H, W) to (N, `outputs`, H, W).

    `embedding` is the length of a vector that is added to the channels half way (the time of a
    denoiser), 0 for none.
    """

    def __init__(
        self,
        kind: BlockKind,
        inputs: int,
        outputs: int,
        norm: NormKind,
        activation: Activation,
        embedding: int = 0,
    ) -> None:
        super().__init__()
        self.plain = kind is BlockKind.PLAIN
        middle = outputs if self.plain else EXPANSION * outputs
        self.norm1 = norm_from_kind(norm, inputs)
        self.norm2 = norm_from_kind(norm, middle)
        self.activation = activation_from_kind(activation)
        if self.plain:
            self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        else:
            self.depthwise = nn.Conv2d(middle, middle, 3, padding=1, groups=middle)
            self.conv1 = nn.Conv2d(inputs, middle, 1)
            self.conv2 = nn.Conv2d(middle, outputs, 1)
        # The block starts as the identity, which deep and unnormalised networks need.
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]
        self.embedded = nn.Linear(embedding, middle) if embedding else None
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, features: Tensor, embedding: Tensor | None = None) -> Tensor:
        """Return the sum of the skip and the block; `embedding` is (N, length)."""
        if self.plain:
            found = self.conv1(self.activation(self.norm1(features)))
        else:
            found = self.depthwise(self.conv1(self.norm1(features)))
        if self.embedded is not None and embedding is not None:
            found = found + self.embedded(embedding)[:, :, None, None]
        found = self.conv2(self.activation(self.norm2(found)))
        total: Tensor = self.skip(features) + found
        return total
