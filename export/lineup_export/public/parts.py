"""What public models' bundles are made of, by kind: fields of the manifest and components."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lineup.bundles.info import (
    CaptionerInfo,
    EncoderInfo,
    GenerationInfo,
    Preprocess,
    TextEncoderInfo,
)
from lineup.errors import UsageError
from lineup_export import contracts
from lineup_export.component import Component, ModuleBuilder
from lineup_export.precision import LADDER, Island
from lineup_export.public import networks
from lineup_export.public.captioners import (
    BlipTextDecoder,
    BlipVisionEncoder,
    Gpt2TextDecoder,
    VitVisionEncoder,
)
from lineup_export.public.folder import WHOLE, ModelSource
from lineup_export.public.lora import fuse_lora
from lineup_models.recipes.recipe import Recipe, RecipeComponent, TextStates

TOKENIZER = "tokenizer.json"

UNET_SIZES = ((32, 32), (16, 24))
"""Rows and columns on which a public denoiser's parity is measured: attention at 64 x 64 would take
more memory than the weights."""
VAE_SIZES = ((16, 16), (8, 12))


@dataclass(frozen=True, slots=True)
class PublicModel:
    """A model to export.

    Attributes:
        recipe: How it is run, its name that of the bundle.
        source: Where the components come from.
        lora: Low-rank weights to add to the denoiser.
        layer: Block at which an encoder is cut; None takes the recipe's, or the middle.
    """

    recipe: Recipe
    source: ModelSource
    lora: Path | None = None
    layer: int | None = None


View = Callable[[Any], nn.Module]
"""Makes what a graph computes of a library's module."""

Described = tuple[dict[str, Any], list[Component], dict[str, bytes]]
"""Fields of the manifest, components (not built yet), further files."""


def encoder(model: PublicModel) -> Described:
    """Describe an encoder: its tower cut at a block, and the whole one.

    In this order, because the second refers to the first one's weights.

    Raises:
        UsageError: The tower has no such block.
    """
    config = _vision_config(model.source)
    blocks = config["num_hidden_layers"]
    layer = model.layer
    if layer is None:
        known = model.recipe.encoder
        # Half of the blocks measured best for telling generators apart (2607.12052).
        layer = min(known.default_layer, blocks) if known is not None else (blocks + 1) // 2
    if not 1 <= layer <= blocks:
        raise UsageError(f"The tower was to be cut at block {layer}; it has blocks 1 to {blocks}.")
    info = EncoderInfo(
        layers=tuple(range(1, blocks + 1)),
        default_layer=layer,
        dimension=config["hidden_size"],
        embedding_dimension=config["projection_dim"],
    )
    views: dict[str, View] = {
        "image_tower_cut": lambda whole: networks.ImageTowerCut(whole, layer),
        "image_tower": networks.ImageTower,
    }
    components = [
        contracts.image_encoder(role, _built(model.source, WHOLE, view), config["image_size"])
        for role, view in views.items()
    ]
    return {"preprocess": _preprocess(model), "encoder": info}, components, {}


def captioner(model: PublicModel) -> Described:
    """Describe a captioner: vision encoder and text decoder."""
    source, run = model.source, model.recipe.captioner
    assert run is not None
    config = source.config(WHOLE)
    if "text_config" in config:
        text = config["text_config"]
        # BLIP ends a caption with BERT's separator, whatever its configuration calls the end.
        start, end, pad = (text[f"{name}_token_id"] for name in ("bos", "sep", "pad"))
        sizes = "num_hidden_layers", "num_attention_heads", "hidden_size"
        views: tuple[View, View] = BlipVisionEncoder, BlipTextDecoder
    else:
        text = config["decoder"]
        start = config.get("decoder_start_token_id")
        start = text["bos_token_id"] if start is None else start
        end, pad = text["eos_token_id"], config["pad_token_id"]
        sizes = "n_layer", "n_head", "n_embd"
        views = VitVisionEncoder, Gpt2TextDecoder
    layers, heads, width = (text[size] for size in sizes)
    info = CaptionerInfo(
        bos_token_id=start,
        eos_token_id=end,
        pad_token_id=pad,
        max_tokens=run.max_tokens,
        layers=layers,
        heads=heads,
        head_dimension=width // heads,
        prompt=run.prompt,
    )
    images = _vision_config(source)
    size_px = images["image_size"]
    image_tokens = (size_px // images["patch_size"]) ** 2 + 1
    vision, decoder = (_built(source, WHOLE, view) for view in views)
    components = [
        contracts.image_encoder("vision_encoder", vision, size_px),
        contracts.text_decoder(
            decoder, info, vocabulary=text["vocab_size"], image_tokens=image_tokens
        ),
    ]
    fields = {"preprocess": _preprocess(model), "captioner": info, "tokenizer": TOKENIZER}
    return fields, components, {TOKENIZER: source.tokenizer(WHOLE).encode("utf-8")}


def _vision_config(source: ModelSource) -> Mapping[str, Any]:
    """Return the configuration of the image tower of an encoder or captioner."""
    config = source.config(WHOLE)
    return dict(config.get("vision_config") or config.get("encoder") or config)


def _preprocess(model: PublicModel) -> Preprocess:
    given = model.recipe.preprocess
    assert given is not None
    size_px = _vision_config(model.source)["image_size"]
    return Preprocess(
        width_px=size_px,
        height_px=size_px,
        resize_mode=given.resize_mode,
        interpolation=given.interpolation,
        antialias=given.interpolation != "nearest",
        crop="center" if given.resize_mode == "shortest_edge_crop" else None,
        mean=given.mean,
        std=given.std,
        value_range=(0.0, 1.0),
        colour_order="RGB",
        layout="NCHW",
    )


def generator(model: PublicModel) -> Described:
    """Describe a generator: text encoders, denoiser, both halves of the autoencoder."""
    source, recipe = model.source, model.recipe
    run = recipe.generation
    assert run is not None
    texts = [item for item in recipe.components if item.tokenizer is not None]
    least = {item.part: set(map(Island, item.least_islands)) for item in recipe.components}
    components = [
        *(_text_encoder(source, item) for item in texts),
        _with_least_islands(_denoiser(model, texts), least["unet"]),
        *(_with_least_islands(half, least["vae"]) for half in _autoencoder(source)),
    ]
    vae = source.config("vae")
    encoders = tuple(
        TextEncoderInfo(
            role=item.part,
            tokenizer=item.part.replace("text_encoder", "tokenizer") + ".json",
            length=source.config(item.part)["max_position_embeddings"],
            pad_token_id=item.pad_token_id,
        )
        for item in texts
    )
    info = GenerationInfo(
        native_width_px=run.native_width_px,
        native_height_px=run.native_height_px,
        steps=run.steps,
        guidance=run.guidance,
        latent_channels=vae["latent_channels"],
        latent_factor=latent_factor(vae),
        latent_scaling=vae.get("scaling_factor", 1.0),
        latent_shift=vae.get("shift_factor") or 0.0,
        vae_family=run.vae_family,
        text_encoders=encoders,
    )
    files = {one.tokenizer: source.tokenizer(one.role).encode("utf-8") for one in encoders}
    scheduler = dict(recipe.scheduler)
    fields = {"preprocess": Preprocess(), "generation": info, "scheduler": scheduler}
    return fields, components, files


def _text_encoder(source: ModelSource, item: RecipeComponent) -> Component:
    config = source.config(item.part)
    has_pooled = source.class_name(item.part).endswith("WithProjection")
    penultimate = item.states is TextStates.PENULTIMATE
    view = partial(networks.TextEncoder, penultimate=penultimate, has_pooled=has_pooled)
    return contracts.text_encoder(
        _built(source, item.part, view),
        length=config["max_position_embeddings"],
        vocabulary=config["vocab_size"],
        # The end of a prompt is the highest id of CLIP's vocabulary.
        eos_token_id=config["vocab_size"] - 1,
        role=item.part,
        has_pooled=has_pooled,
    )


def _denoiser(model: PublicModel, texts: list[RecipeComponent]) -> Component:
    """Return the denoiser; it is fed the text encoders' states, joined."""
    source = model.source
    config = source.config("unet")
    encoders = [source.config(text.part) for text in texts]
    has_pooled = config.get("addition_embed_type") == "text_time"
    guidance_dimension = config.get("time_cond_proj_dim") or 0

    def module(dtype: torch.dtype) -> nn.Module:
        unet = source.module("unet", dtype)
        if model.lora is not None:
            fuse_lora(unet, model.lora)
        return networks.Denoiser(unet, has_pooled=has_pooled, has_guidance=guidance_dimension > 0)

    return contracts.unet(
        module,
        channels=config["in_channels"],
        text_length=encoders[0]["max_position_embeddings"],
        text_dimension=sum(text["hidden_size"] for text in encoders),
        multiple=2 ** (len(config["block_out_channels"]) - 1),
        sizes=UNET_SIZES,
        pooled_dimension=encoders[-1]["projection_dim"] if has_pooled else 0,
        guidance_dimension=guidance_dimension,
    )


def _autoencoder(source: ModelSource) -> list[Component]:
    """Return decoder and encoder."""
    config = source.config("vae")
    views: tuple[View, View] = networks.KlDecoder, networks.KlEncoder
    if source.class_name("vae").endswith("AutoencoderTiny"):
        views = networks.tiny_decoder, networks.tiny_encoder
    decoder, encoder = (_built(source, "vae", view) for view in views)
    return [
        contracts.vae_decoder(decoder, config["latent_channels"], VAE_SIZES),
        contracts.vae_encoder(encoder, latent_factor(config), VAE_SIZES),
    ]


def latent_factor(config: Mapping[str, Any]) -> int:
    """Return the pixels per latent cell and side of an autoencoder."""
    widths = config.get("block_out_channels") or config["encoder_block_out_channels"]
    return int(2 ** (len(widths) - 1))


def _with_least_islands(component: Component, least: set[Island]) -> Component:
    """Return a component that keeps at least these islands in half precision."""
    rungs = (rung for rung in LADDER if Island.EVERYTHING in rung or least <= rung)
    return replace(component, ladder=tuple(rungs))


def _built(source: ModelSource, part: str, view: View) -> ModuleBuilder:
    """Return what builds a view of a part; of the part only what the view holds is kept."""

    def module(_: torch.dtype) -> nn.Module:
        # In single precision also for half graphs: the reference is then that of the weights as
        # they are stored, and only the denoiser is too large to hold it.
        found = view(source.module(part, torch.float32))
        gc.collect()
        return found

    return module
