"""CLIP towers of transformers, denoisers and autoencoders of diffusers, as a graph takes them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn


class ImageTower(nn.Module):
    """A transformers CLIPVisionModelWithProjection."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.vision, self.projection = model.vision_model, model.visual_projection

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the CLS token after every block `cls` (N, layers, D), and `embedding` (N, E)."""
        features = self.vision.pre_layrnorm(self.vision.embeddings(pixel_values))
        tokens = []
        for block in self.vision.encoder.layers:
            features = block(features, None, None)[0]
            tokens.append(features[:, 0])
        embedding = self.projection(self.vision.post_layernorm(tokens[-1]))
        return torch.stack(tokens, dim=1), embedding


class ImageTowerCut(nn.Module):
    """The image tower up to block `layer`, counted from 1, with its weights only."""

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
    """A transformers CLIPTextModel or CLIPTextModelWithProjection.

    Args:
        model: The model.
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


class Denoiser(nn.Module):
    """A UNet with its inputs in the order of a bundle's graph `unet`.

    Args:
        model: A diffusers UNet2DConditionModel.
        has_pooled: Whether it takes pooled text embedding and time ids (SDXL).
        has_guidance: Whether it takes an embedded guidance scale (LCM).
    """

    def __init__(self, model: Any, *, has_pooled: bool, has_guidance: bool) -> None:
        super().__init__()
        self.model = model
        self.has_pooled, self.has_guidance = has_pooled, has_guidance

    def forward(
        self, latents: Tensor, timestep: Tensor, text_states: Tensor, *others: Tensor
    ) -> Tensor:
        """Return the prediction; `others` are pooled and time_ids, then guidance_embedding."""
        conditions: dict[str, Any] = {}
        if self.has_pooled:
            pooled, time_ids, *others = others  # type: ignore[assignment]
            conditions["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": time_ids}
        if self.has_guidance:
            conditions["timestep_cond"] = others[0]
        prediction: Tensor = self.model(
            latents,
            timestep,
            encoder_hidden_states=text_states,
            return_dict=False,
            **conditions,
        )[0]
        return prediction


class KlDecoder(nn.Module):
    """The decoder of a diffusers AutoencoderKL, with its weights only."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.before, self.decoder = model.post_quant_conv or nn.Identity(), model.decoder

    def forward(self, latents: Tensor) -> Tensor:
        """Return the image, -1..1.

        As the decoder's own forward, without its cast to the format of its weights, which would
        overflow where only the weights are half.
        """
        decoder = self.decoder
        features = decoder.mid_block(decoder.conv_in(self.before(latents)))
        for block in decoder.up_blocks:
            features = block(features)
        image: Tensor = decoder.conv_out(decoder.conv_act(decoder.conv_norm_out(features)))
        return image


class KlEncoder(nn.Module):
    """The encoder of a diffusers AutoencoderKL, with its weights only."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder, self.after = model.encoder, model.quant_conv or nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        """Return the posterior mean."""
        mean: Tensor = self.after(self.encoder(image)).chunk(2, dim=1)[0]
        return mean


def tiny_decoder(model: Any) -> nn.Module:
    """Return the decoder of a diffusers AutoencoderTiny, latents to image, -1..1."""
    return nn.Sequential(OrderedDict(decoder=model.decoder))


def tiny_encoder(model: Any) -> nn.Module:
    """Return the encoder of a diffusers AutoencoderTiny, image to latents."""
    return nn.Sequential(OrderedDict(encoder=model.encoder))
