"""Components of public models, by kind: what they are built from and what they are fed."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lineup_export import contracts
from lineup_export.component import Component
from lineup_export.precision import LADDER, Island, Islands
from lineup_export.public.captioners import (
    BlipTextDecoder,
    BlipVisionEncoder,
    Gpt2TextDecoder,
    VitVisionEncoder,
)
from lineup_export.public.folder import WHOLE
from lineup_export.public.lora import fuse_lora
from lineup_export.public.networks import (
    Denoiser,
    ImageTower,
    ImageTowerCut,
    KlDecoder,
    KlEncoder,
    TextEncoder,
    TinyDecoder,
    TinyEncoder,
)
from lineup_export.public.source import ModelSource

UNET_SIZES = ((32, 32), (16, 24))
"""Rows and columns on which a public denoiser's parity is measured: attention at 64 x 64 would take
more memory than the weights."""
VAE_SIZES = ((16, 16), (8, 12))


@dataclass(frozen=True, slots=True)
class TextPart:
    """One text encoder of a generator.

    Attributes:
        part: Its folder, "text_encoder" or "text_encoder_2"; also the role of its graph.
        penultimate: The denoiser is fed the states before the last block.
        length: Tokens of a prompt.
        dimension: Length of a token's state.
        pooled_dimension: Length of the pooled embedding; 0 for none.
        vocabulary: Number of tokens.
    """

    part: str
    penultimate: bool
    length: int
    dimension: int
    pooled_dimension: int
    vocabulary: int


def image_towers(source: ModelSource, layer: int) -> list[Component]:
    """Return the tower of an encoder cut after `layer`, and the whole one.

    In this order, because the second refers to the first one's weights.
    """
    config = vision_config(source)
    size_px = (config["image_size"],) * 2
    return [
        contracts.image_tower(
            _built(source, WHOLE, lambda model: ImageTowerCut(model, layer)),
            size_px,
            role="image_tower_cut",
            has_embedding=False,
        ),
        contracts.image_tower(_built(source, WHOLE, ImageTower), size_px),
    ]


def captioner_parts(source: ModelSource, cache: contracts.Cache) -> list[Component]:
    """Return vision encoder and text decoder of a captioner."""
    is_blip = source.class_name(WHOLE).endswith("BlipForConditionalGeneration")
    vision, text = (
        (BlipVisionEncoder, BlipTextDecoder) if is_blip else (VitVisionEncoder, Gpt2TextDecoder)
    )
    size_px = (vision_config(source)["image_size"],) * 2
    return [
        contracts.vision_encoder(_built(source, WHOLE, vision), size_px),
        contracts.text_decoder(_built(source, WHOLE, text), cache),
    ]


def vision_config(source: ModelSource) -> Mapping[str, Any]:
    """Return the configuration of the image tower of an encoder or captioner."""
    config = source.config(WHOLE)
    for key in ("vision_config", "encoder"):
        if key in config:
            return dict(config[key])
    return config


def text_parts(source: ModelSource, parts: Mapping[str, bool]) -> tuple[TextPart, ...]:
    """Return what is known of a generator's text encoders.

    Args:
        source: The model.
        parts: Per text encoder, whether its penultimate states are used.
    """
    found = []
    for part, penultimate in parts.items():
        config = source.config(part)
        has_pooled = source.class_name(part).endswith("WithProjection")
        found.append(
            TextPart(
                part=part,
                penultimate=penultimate,
                length=config["max_position_embeddings"],
                dimension=config["hidden_size"],
                pooled_dimension=config["projection_dim"] if has_pooled else 0,
                vocabulary=config["vocab_size"],
            )
        )
    return tuple(found)


def text_encoder(source: ModelSource, part: TextPart) -> Component:
    """Return a text encoder of a generator."""
    has_pooled = part.pooled_dimension > 0
    return contracts.text_encoder(
        _built(
            source,
            part.part,
            lambda model: TextEncoder(model, penultimate=part.penultimate, has_pooled=has_pooled),
        ),
        length=part.length,
        vocabulary=part.vocabulary,
        # The end of a prompt is the highest id of CLIP's vocabulary.
        eos_token_id=part.vocabulary - 1,
        role=part.part,
        has_pooled=has_pooled,
    )


def denoiser(
    source: ModelSource,
    texts: tuple[TextPart, ...],
    least: Islands,
    lora: Path | None,
) -> Component:
    """Return a generator's denoiser; low-rank weights, if any, are added to it."""
    config = source.config("unet")
    has_pooled = config.get("addition_embed_type") == "text_time"
    guidance_dimension = config.get("time_cond_proj_dim") or 0

    def module(dtype: torch.dtype) -> nn.Module:
        unet = source.module("unet", dtype)
        if lora is not None:
            fuse_lora(unet, lora)
        return Denoiser(unet, has_pooled=has_pooled, has_guidance=guidance_dimension > 0)

    spec = contracts.Denoiser(
        channels=config["in_channels"],
        text_length=texts[0].length,
        text_dimension=sum(text.dimension for text in texts),
        multiple=2 ** (len(config["block_out_channels"]) - 1),
        sizes=UNET_SIZES,
        pooled_dimension=texts[-1].pooled_dimension if has_pooled else 0,
        has_time_ids=has_pooled,
        guidance_dimension=guidance_dimension,
    )
    return with_least_islands(contracts.unet(module, spec), least)


def autoencoder(source: ModelSource, least: Islands) -> list[Component]:
    """Return decoder and encoder of a generator's autoencoder."""
    config = source.config("vae")
    is_tiny = source.class_name("vae").endswith("AutoencoderTiny")
    decoder, encoder = (TinyDecoder, TinyEncoder) if is_tiny else (KlDecoder, KlEncoder)
    channels, factor = config["latent_channels"], latent_factor(config)
    components = [
        contracts.vae_decoder(_built(source, "vae", decoder), channels, sizes=VAE_SIZES),
        contracts.vae_encoder(_built(source, "vae", encoder), factor, sizes=VAE_SIZES),
    ]
    return [with_least_islands(component, least) for component in components]


def latent_factor(config: Mapping[str, Any]) -> int:
    """Return the pixels per latent cell and side of an autoencoder."""
    widths = config.get("block_out_channels") or config["encoder_block_out_channels"]
    return int(2 ** (len(widths) - 1))


def with_least_islands(component: Component, least: Islands) -> Component:
    """Return a component that keeps at least these islands in half precision."""
    if Island.EVERYTHING in least:
        return replace(component, ladder=LADDER[-1:])
    return replace(component, ladder=tuple(rung for rung in LADDER if _covers(rung, least)))


def _covers(rung: Islands, least: Islands) -> bool:
    return Island.EVERYTHING in rung or least <= rung


def _built(
    source: ModelSource, part: str, view: Callable[[Any], nn.Module]
) -> contracts.ModuleBuilder:
    """Return what builds a view of a part; of the part only what the view holds is kept."""

    def module(_: torch.dtype) -> nn.Module:
        # In single precision also for half graphs: the reference is then that of the weights as
        # they are stored, and only the denoiser is too large to hold it.
        found = view(source.module(part, torch.float32))
        gc.collect()
        return found

    return module
