"""What the cached decoders of captioners share."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor


def heads_from_states(states: Tensor, heads: int) -> Tensor:
    """Return (N, heads, length, D / heads) of (N, length, D)."""
    count, length, dimension = states.shape
    return states.view(count, length, heads, dimension // heads).transpose(1, 2)


def attended(queries: Tensor, keys: Tensor, values: Tensor, seen: Tensor | None = None) -> Tensor:
    """Return (N, length, D) of queries, keys and values by head.

    Args:
        queries: Shape (N, heads, length, D / heads).
        keys: Shape (N, heads, entries, D / heads).
        values: The same shape.
        seen: bool, broadcast to (N, heads, length, entries): what a query may look at.
    """
    found = F.scaled_dot_product_attention(queries, keys, values, attn_mask=seen)
    count, heads, length, dimension = found.shape
    return found.transpose(1, 2).reshape(count, length, heads * dimension)


class Cache:
    """Keys and values of one step: what was there, and the new entry at its position.

    Args:
        past_keys: Shape (sequences, layers, heads, max_tokens, D / heads).
        past_values: The same shape.
        position: int64 (1,), where the new entry goes.
    """

    def __init__(self, past_keys: Tensor, past_values: Tensor, position: Tensor) -> None:
        places = torch.arange(past_keys.shape[3])
        self._past = past_keys, past_values
        self._here = (places == position)[:, None]
        self.seen = (places <= position)[None, None, None, :]
        self._written: list[tuple[Tensor, Tensor]] = []

    def update(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Write the entry (N, heads, 1, D / heads) of the next layer; return all of the layer's."""
        layer = len(self._written)
        keys, values = (
            torch.where(self._here, new.to(past.dtype), past[:, layer])
            for new, past in zip((key, value), self._past, strict=True)
        )
        self._written.append((keys, values))
        return keys, values

    def stacked(self) -> tuple[Tensor, Tensor]:
        """Return keys and values of all layers."""
        keys, values = zip(*self._written, strict=True)
        return torch.stack(keys, dim=1), torch.stack(values, dim=1)
