"""How a model is run, from the files of its own folder, where no recipe says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tokenizers import Tokenizer

from lineup.errors import UsageError
from lineup_export.precision import Island
from lineup_export.public.folder import WHOLE, FolderSource, json_from_file
from lineup_export.public.parts import latent_factor
from lineup_models.recipes.recipe import (
    Architecture,
    CaptionerDefaults,
    GenerationDefaults,
    PreprocessDefaults,
    Recipe,
    RecipeComponent,
    RecipeKind,
    TextStates,
    TokenizerFamily,
)

_SCHEDULERS: Mapping[str, tuple[str, int, float]] = {
    "DDIMScheduler": ("ddim", 25, 7.5),
    "EulerDiscreteScheduler": ("euler", 25, 7.5),
    "EulerAncestralDiscreteScheduler": ("euler", 25, 7.5),
    "LCMScheduler": ("lcm", 4, 1.0),
    "PNDMScheduler": ("ddim", 25, 7.5),
    "DPMSolverMultistepScheduler": ("ddim", 25, 7.5),
    "TCDScheduler": ("tcd", 4, 0.0),
}
"""Per class: type, default steps and guidance. Solvers of higher order give way to DDIM."""

_CONSTANTS = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "prediction_type",
    "timestep_spacing",
    "steps_offset",
    "clip_sample",
    "clip_sample_range",
    "set_alpha_to_one",
    "original_inference_steps",
    "timestep_scaling",
    "use_karras_sigmas",
    "rescale_betas_zero_snr",
    "final_sigmas_type",
)

_RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "area"}
"""Pillow's numbers of its filters."""


def recipe_from_folder(source: FolderSource, kind: RecipeKind, name: str, licence: str) -> Recipe:
    """Return the recipe that a folder's own files amount to.

    Args:
        source: A folder that `save_pretrained` wrote.
        kind: What its model does.
        name: Of the recipe.
        licence: SPDX expression of the weights' licence.

    Raises:
        UsageError: The folder does not say how its model is run, or the runtime cannot run it so.
    """
    is_generator = kind is RecipeKind.GENERATOR
    origin = source.origin
    parts = source.parts() if is_generator else (WHOLE,)
    recipe = Recipe(
        name=name,
        kind=kind,
        title=name,
        hub_id=origin.id,
        revision=origin.revision,
        licence=licence,
        download_mb=0,
        components=tuple(_component(source, part) for part in parts),
        captioner=CaptionerDefaults(prompt="", max_tokens=40),
    )
    if not is_generator:
        return replace(recipe, preprocess=_preprocess(source))
    scheduler, generation = _run(source)
    return replace(recipe, scheduler=scheduler, generation=generation)


def _component(source: FolderSource, part: str) -> RecipeComponent:
    config = source.config(part)
    component = RecipeComponent(part, Architecture(source.class_name(part), config))
    if part.startswith("text_encoder"):
        # Two text encoders are SDXL's, whose denoiser is fed the states before the last block.
        has_two = source.has("text_encoder_2")
        return replace(
            component,
            tokenizer=TokenizerFamily.CLIP,
            pad_token_id=_pad_token_id(source, part),
            states=TextStates.PENULTIMATE if has_two else TextStates.LAST,
        )
    # What the configurations themselves say half precision cannot hold.
    if part == "unet" and config.get("upcast_attention"):
        return replace(component, least_islands=(Island.ATTENTION.value,))
    if part == "vae" and config.get("force_upcast"):
        return replace(component, least_islands=(Island.EVERYTHING.value,))
    return component


def _pad_token_id(source: FolderSource, part: str) -> int:
    """Return what fills a prompt up."""
    special = source.folder / part.replace("text_encoder", "tokenizer") / "special_tokens_map.json"
    pad: Any = json_from_file(special).get("pad_token") if special.is_file() else None
    word = pad["content"] if isinstance(pad, dict) else pad
    return int(Tokenizer.from_str(source.tokenizer(part)).token_to_id(word or "") or 0)


def _run(source: FolderSource) -> tuple[dict[str, Any], GenerationDefaults]:
    """Return the constants of a generator's scheduler; and size, steps and guidance."""
    config = json_from_file(source.folder / "scheduler" / "scheduler_config.json")
    name = str(config.get("_class_name"))
    if name not in _SCHEDULERS:
        raise UsageError(
            f"{source.folder} is run with {name}, which the runtime does not have.",
            hint=f"These can be exported: {', '.join(_SCHEDULERS)}.",
        )
    kind, steps, guidance = _SCHEDULERS[name]
    # The mark of students of adversarial distillation; a multi-step model has "leading".
    if name.startswith("Euler") and config.get("timestep_spacing") == "trailing":
        kind, steps, guidance = "one-step", 1, 0.0
    unet, vae = source.config("unet"), source.config("vae")
    if unet.get("time_cond_proj_dim"):
        guidance = 8.0
    size_px = int(unet["sample_size"]) * latent_factor(vae)
    scaling = vae.get("scaling_factor", 1.0)
    family = {0.18215: "sd-kl-f8", 0.13025: "sdxl-kl-f8"}.get(scaling, source.folder.name)
    scheduler = {
        "type": kind,
        # What diffusers' DDIM takes when the constants of another solver lack it.
        "timestep_spacing": "leading",
        "steps_offset": 0,
        "prediction_type": "epsilon",
        "clip_sample": False,
        "set_alpha_to_one": False,
        **{key: config[key] for key in _CONSTANTS if config.get(key) is not None},
        **({"eta": 0.3} if kind == "tcd" else {}),
    }
    return scheduler, GenerationDefaults(size_px, size_px, steps, guidance, family)


def _preprocess(source: FolderSource) -> PreprocessDefaults:
    """Return what is done to an image."""
    path = source.folder / "preprocessor_config.json"
    if not path.is_file():
        raise UsageError(
            f"{source.folder} has no {path.name}, which says how images are prepared.",
            hint="Copy it from the model's repository, or name a recipe with --recipe.",
        )
    config = json_from_file(path)
    size = config.get("size", 224)
    is_cropped = bool(config.get("do_center_crop"))
    edge = size if isinstance(size, int) else size.get("shortest_edge") or size.get("height")
    if is_cropped:
        crop = config.get("crop_size", edge)
        edge = crop if isinstance(crop, int) else crop["height"]
    return PreprocessDefaults(
        width_px=int(edge),
        height_px=int(edge),
        resize_mode="shortest_edge_crop" if is_cropped else "stretch",
        interpolation=_RESAMPLE[config.get("resample", 3)],
        mean=tuple(config["image_mean"]),
        std=tuple(config["image_std"]),
    )
