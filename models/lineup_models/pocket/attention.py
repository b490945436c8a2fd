"""Attention and transformer blocks of the pocket models."""

from __future__ import annotations

from torch import Tensor, nn


def split_heads(features: Tensor, heads: int) -> Tensor:
    """Return (N, heads, length, D / heads) of (N, length, D)."""
    images, length, dimension = features.shape
    return features.view(images, length, heads, dimension // heads).transpose(1, 2)


def joined_heads(features: Tensor) -> Tensor:
    """Return (N, length, D) of (N, heads, length, D / heads)."""
    images, heads, length, dimension = features.shape
    return features.transpose(1, 2).reshape(images, length, heads * dimension)


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
        return (
            split_heads(self.key(context), self.heads),
            split_heads(self.value(context), self.heads),
        )

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


class Mlp(nn.Sequential):
    """Two linear layers with a GELU between them; (..., D) to (..., D)."""

    def __init__(self, dimension: int, ratio: int) -> None:
        super().__init__(
            nn.Linear(dimension, ratio * dimension),
            nn.GELU(),
            nn.Linear(ratio * dimension, dimension),
        )


class TransformerBlock(nn.Module):
    """Pre-norm block of self-attention and MLP; (N, length, D) to the same."""

    def __init__(self, dimension: int, heads: int, ratio: int = 4) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dimension)
        self.attention = Attention(dimension, heads)
        self.norm2 = nn.LayerNorm(dimension)
        self.mlp = Mlp(dimension, ratio)

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the features after the block."""
        features = features + self.attention(self.norm1(features), mask=mask)
        found: Tensor = features + self.mlp(self.norm2(features))
        return found
