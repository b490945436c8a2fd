"""CLIP towers of transformers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class ImageTower(nn.Module):
    """`pixel_values` to the CLS token after every block and the projected embedding.

    Args:
        model: A transformers CLIPVisionModelWithProjection.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.vision, self.projection = model.vision_model, model.visual_projection

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Return `cls` (N, layers, D) and `embedding` (N, E), not normalised."""
        features = self.vision.pre_layrnorm(self.vision.embeddings(pixel_values))
        tokens = []
        for block in self.vision.encoder.layers:
            features = block(features, None, None)[0]
            tokens.append(features[:, 0])
        embedding = self.projection(self.vision.post_layernorm(tokens[-1]))
        return torch.stack(tokens, dim=1), embedding


class ImageTowerCut(nn.Module):
    """The image tower up to one block, with its weights only.

    Args:
        model: A transformers CLIPVisionModelWithProjection.
        layer: The last block to keep, counted from 1.
    """

    def __init__(self, model: Any, layer: int) -> None:
        super().__init__()
        vision = model.vision_model
        self.embeddings, self.norm = vision.embeddings, vision.pre_layrnorm
        self.blocks = nn.ModuleList(list(vision.encoder.layers)[:layer])

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return `cls` (N, 1, D)."""
        features: Tensor = self.norm(self.embeddings(pixel_values))
        for block in self.blocks:
            features = block(features, None, None)[0]
        return features[:, :1]


class TextEncoder(nn.Module):
    """Prompts to the states that a denoiser is fed.

    Args:
        model: A transformers CLIPTextModel or CLIPTextModelWithProjection.
        penultimate: Put out the states before the last block instead of the normalised last.
        has_pooled: Put out the projected embedding of the prompt too.
    """

    def __init__(self, model: Any, *, penultimate: bool, has_pooled: bool) -> None:
        super().__init__()
        self.model = model
        self.penultimate, self.has_pooled = penultimate, has_pooled

    def forward(self, tokens: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return `text_states` (N, length, D), and `pooled` (N, P) where asked for."""
        outputs = self.model(input_ids=tokens, output_hidden_states=True)
        states: Tensor = (
            outputs.hidden_states[-2] if self.penultimate else outputs.last_hidden_state
        )
        return (states, outputs.text_embeds) if self.has_pooled else states
