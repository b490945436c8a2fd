"""Captioners of transformers, BLIP and ViT with GPT-2, with a static cache of keys and values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from lineup_models.pocket.blocks import Cache, joined_heads, split_heads, stacked


def attended(queries: Tensor, keys: Tensor, values: Tensor, seen: Tensor | None = None) -> Tensor:
    """Return (N, length, D) of queries (N, heads, length, D / heads), and keys and values.

    `seen`, bool, broadcast to (N, heads, length, entries), is what a query may look at.
    """
    return joined_heads(F.scaled_dot_product_attention(queries, keys, values, attn_mask=seen))


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
        return stacked(
            [
                split_heads(part(states), cross.num_attention_heads)
                for part in (cross.key, cross.value)
            ]
            for cross in cast("Iterable[Any]", self.cross)
        )


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
                split_heads(part(states), heads)
                for part in (own.self.query, own.self.key, own.self.value)
            )
            found = attended(queries, *cache.update(key, value), cache.seen)
            states = own.output(found, states)
            queries = split_heads(other.self.query(states), heads)
            found = attended(queries, cross_keys[:, number], cross_values[:, number])
            states = other.output(found, states)
            states = layer.output(layer.intermediate(states), states)
        logits = self.head(states[:, 0])
        return logits, *stacked(cache.written)


class VitVisionEncoder(nn.Module):
    """As `BlipVisionEncoder`, of ViT and GPT-2.

    Args:
        model: A transformers VisionEncoderDecoderModel.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.vision = model.encoder
        self.projection = getattr(model, "enc_to_dec_proj", None) or nn.Identity()
        self.cross = nn.ModuleList(block.crossattention for block in model.decoder.transformer.h)

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Return `cross_keys` and `cross_values`."""
        states = self.projection(self.vision(pixel_values=pixel_values).last_hidden_state)
        return stacked(
            [
                split_heads(part, cross.num_heads)
                for part in cross.c_attn(states).split(cross.split_size, dim=2)
            ]
            for cross in cast("Iterable[Any]", self.cross)
        )


class Gpt2TextDecoder(nn.Module):
    """As `BlipTextDecoder`, of ViT and GPT-2.

    Args:
        model: A transformers VisionEncoderDecoderModel.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.transformer, self.head = model.decoder.transformer, model.decoder.lm_head
        # What the vision graph holds must not be in this one too; they are not called.
        for block in self.transformer.h:
            block.crossattention.c_attn = None

    def forward(
        self,
        tokens: Tensor,
        position: Tensor,
        past_keys: Tensor,
        past_values: Tensor,
        cross_keys: Tensor,
        cross_values: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return `logits`, `keys` and `values`."""
        cache = Cache(past_keys, past_values, position)
        gpt = self.transformer
        states = (gpt.wte(tokens) + gpt.wpe(position))[:, None]
        for number, block in enumerate(gpt.h):
            own, other = block.attn, block.crossattention
            parts = own.c_attn(block.ln_1(states)).split(own.split_size, dim=2)
            queries, key, value = (split_heads(part, own.num_heads) for part in parts)
            found = attended(queries, *cache.update(key, value), cache.seen)
            states = states + own.c_proj(found)
            queries = split_heads(other.q_attn(block.ln_cross_attn(states)), own.num_heads)
            found = attended(queries, cross_keys[:, number], cross_values[:, number])
            states = states + other.c_proj(found)
            states = states + block.mlp(block.ln_2(states))
        logits = self.head(gpt.ln_f(states[:, 0]))
        return logits, *stacked(cache.written)
