"""BLIP captioning of transformers with a static cache of keys and values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from lineup_export.public.modules.attention import Cache, attended, heads_from_states


class BlipVisionEncoder(nn.Module):
    """`pixel_values` to what every decoder block attends to.

    Args:
        model: A transformers BlipForConditionalGeneration.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.vision = model.vision_model
        layers = model.text_decoder.bert.encoder.layer
        self.cross = nn.ModuleList(layer.crossattention.self for layer in layers)

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Return `cross_keys` and `cross_values` (N, layers, heads, image tokens, D / heads)."""
        states = self.vision(pixel_values=pixel_values).last_hidden_state
        pairs = [
            tuple(
                heads_from_states(part(states), cross.num_attention_heads)
                for part in (cross.key, cross.value)
            )
            for cross in cast("Iterable[Any]", self.cross)
        ]
        keys, values = zip(*pairs, strict=True)
        return torch.stack(keys, dim=1), torch.stack(values, dim=1)


class BlipTextDecoder(nn.Module):
    """One token of each sequence.

    Args:
        model: A transformers BlipForConditionalGeneration.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        bert = model.text_decoder.bert
        self.embeddings, self.layers = bert.embeddings, bert.encoder.layer
        self.head = model.text_decoder.cls
        # What the vision graph holds must not be in this one too; they are not called.
        for layer in self.layers:
            layer.crossattention.self.key = layer.crossattention.self.value = None

    def forward(
        self,
        tokens: Tensor,
        position: Tensor,
        past_keys: Tensor,
        past_values: Tensor,
        cross_keys: Tensor,
        cross_values: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return `logits` (N, vocabulary), `keys` and `values`."""
        cache = Cache(past_keys, past_values, position)
        embeddings = self.embeddings
        words = embeddings.word_embeddings(tokens) + embeddings.position_embeddings(position)
        states = embeddings.LayerNorm(words)[:, None]
        for number, layer in enumerate(self.layers):
            own, other = layer.attention, layer.crossattention
            heads = own.self.num_attention_heads
            queries, key, value = (
                heads_from_states(part(states), heads)
                for part in (own.self.query, own.self.key, own.self.value)
            )
            found = attended(queries, *cache.update(key, value), cache.seen)
            states = own.output(found, states)
            queries = heads_from_states(other.self.query(states), heads)
            found = attended(queries, cross_keys[:, number], cross_values[:, number])
            states = other.output(found, states)
            states = layer.output(layer.intermediate(states), states)
        logits = self.head(states[:, 0])
        return logits, *cache.stacked()
