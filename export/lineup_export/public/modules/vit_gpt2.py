"""ViT and GPT-2 captioning of transformers with a static cache of keys and values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from lineup_export.public.modules.attention import Cache, attended, heads_from_states


class VitVisionEncoder(nn.Module):
    """`pixel_values` to what every decoder block attends to.

    Args:
        model: A transformers VisionEncoderDecoderModel of ViT and GPT-2.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.vision = model.encoder
        self.projection = getattr(model, "enc_to_dec_proj", None) or nn.Identity()
        self.cross = nn.ModuleList(block.crossattention for block in model.decoder.transformer.h)

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Return `cross_keys` and `cross_values` (N, layers, heads, image tokens, D / heads)."""
        states = self.projection(self.vision(pixel_values=pixel_values).last_hidden_state)
        pairs = []
        for cross in cast("Iterable[Any]", self.cross):
            both = cross.c_attn(states).split(cross.split_size, dim=2)
            pairs.append([heads_from_states(part, cross.num_heads) for part in both])
        keys, values = zip(*pairs, strict=True)
        return torch.stack(keys, dim=1), torch.stack(values, dim=1)


class Gpt2TextDecoder(nn.Module):
    """One token of each sequence.

    Args:
        model: A transformers VisionEncoderDecoderModel of ViT and GPT-2.
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
        """Return `logits` (N, vocabulary), `keys` and `values`."""
        cache = Cache(past_keys, past_values, position)
        gpt = self.transformer
        states = (gpt.wte(tokens) + gpt.wpe(position))[:, None]
        for number, block in enumerate(gpt.h):
            own, other = block.attn, block.crossattention
            parts = own.c_attn(block.ln_1(states)).split(own.split_size, dim=2)
            queries, key, value = (heads_from_states(part, own.num_heads) for part in parts)
            found = attended(queries, *cache.update(key, value), cache.seen)
            states = states + own.c_proj(found)
            queries = heads_from_states(other.q_attn(block.ln_cross_attn(states)), own.num_heads)
            found = attended(queries, cross_keys[:, number], cross_values[:, number])
            states = states + other.c_proj(found)
            states = states + block.mlp(block.ln_2(states))
        logits = self.head(gpt.ln_f(states[:, 0]))
        return logits, *cache.stacked()
