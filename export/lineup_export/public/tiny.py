"""Tiny versions of architectures: the same kinds of layers, as few and as narrow as can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

WIDTH = 8


def tiny_config(class_name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of the tiny version of an architecture.

    Args:
        class_name: As in a recipe, e.g. "diffusers.UNet2DConditionModel".
        config: Of the full size.
    """
    shrink = {
        "AutoencoderKL": _tiny_kl,
        "AutoencoderTiny": _tiny_autoencoder,
        "BlipForConditionalGeneration": _tiny_blip,
        "UNet2DConditionModel": _tiny_unet,
        "VisionEncoderDecoderModel": _tiny_vit_gpt2,
    }.get(class_name.rpartition(".")[2], _tiny_clip)
    return {**config, **shrink(config)}


def _tiny_transformer(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **config,
        "hidden_size": 2 * WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }


def _tiny_clip(config: Mapping[str, Any]) -> dict[str, Any]:
    sizes = {"projection_dim": WIDTH}
    if "patch_size" in config:
        sizes |= {"image_size": 4 * WIDTH, "patch_size": 2 * WIDTH}
    return _tiny_transformer(config) | sizes


def _tiny_unet(config: Mapping[str, Any]) -> dict[str, Any]:
    # The first and the last level have every kind of block; those between repeat them.
    levels = 2
    sizes: dict[str, Any] = {
        "block_out_channels": [WIDTH, 2 * WIDTH],
        "down_block_types": _ends(config["down_block_types"]),
        "up_block_types": _ends(config["up_block_types"]),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "attention_head_dim": 2 if isinstance(config["attention_head_dim"], int) else [2] * levels,
        "cross_attention_dim": 2 * WIDTH,
    }
    for depth in ("transformer_layers_per_block", "reverse_transformer_layers_per_block"):
        if isinstance(config.get(depth), list):
            sizes[depth] = _ones(_ends(config[depth]))
    if config.get("addition_embed_type"):
        # Both text encoders are joined; pooled text and six embedded time ids are added.
        sizes |= {
            "cross_attention_dim": 4 * WIDTH,
            "addition_time_embed_dim": WIDTH,
            "projection_class_embeddings_input_dim": WIDTH + 6 * WIDTH,
        }
    if config.get("time_cond_proj_dim"):
        sizes["time_cond_proj_dim"] = config["time_cond_proj_dim"]
    return sizes


def _ends(levels: Sequence[Any]) -> list[Any]:
    return [levels[0], levels[-1]]


def _ones(depth: Any) -> Any:
    return [_ones(item) for item in depth] if isinstance(depth, list) else 1


def _tiny_kl(config: Mapping[str, Any]) -> dict[str, Any]:
    levels = len(config["block_out_channels"])
    return {
        "block_out_channels": [WIDTH] * levels,
        "layers_per_block": 1,
        "norm_num_groups": 4,
    }


def _tiny_autoencoder(config: Mapping[str, Any]) -> dict[str, Any]:
    levels = len(config["encoder_block_out_channels"])
    return {
        "encoder_block_out_channels": [WIDTH] * levels,
        "decoder_block_out_channels": [WIDTH] * levels,
        "num_encoder_blocks": [1] * levels,
        "num_decoder_blocks": [1] * levels,
    }


def _tiny_blip(config: Mapping[str, Any]) -> dict[str, Any]:
    vision = _tiny_transformer(config["vision_config"])
    vision |= {"image_size": 4 * WIDTH, "patch_size": 2 * WIDTH}
    text = _tiny_transformer(config["text_config"]) | {"encoder_hidden_size": 2 * WIDTH}
    return {"vision_config": vision, "text_config": text}


def _tiny_vit_gpt2(config: Mapping[str, Any]) -> dict[str, Any]:
    encoder = _tiny_transformer(config["encoder"])
    encoder |= {"image_size": 4 * WIDTH, "patch_size": 2 * WIDTH}
    decoder = {**config["decoder"], "n_embd": 2 * WIDTH, "n_layer": 2, "n_head": 2}
    return {"encoder": encoder, "decoder": decoder}
