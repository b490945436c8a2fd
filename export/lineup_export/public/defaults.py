"""How a model is run, from the files of its own folder, where no recipe says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lineup.errors import UsageError
from lineup_export.precision import Island
from lineup_export.public.folder import FolderSource, json_from_file
from lineup_models.recipes.recipe import GenerationDefaults, PreprocessDefaults

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


@dataclass(frozen=True, slots=True)
class FolderDefaults:
    """Reads a folder that `save_pretrained` wrote.

    Attributes:
        folder: The folder.
    """

    folder: Path

    def scheduler(self) -> dict[str, Any]:
        """Return the constants of the scheduler.

        Raises:
            UsageError: It is none that the runtime has.
        """
        config = json_from_file(self.folder / "scheduler" / "scheduler_config.json")
        constants = {key: config[key] for key in _CONSTANTS if config.get(key) is not None}
        # What diffusers' DDIM takes when the constants of another solver lack it.
        usual = {"timestep_spacing": "leading", "steps_offset": 0, "prediction_type": "epsilon"}
        usual |= {"clip_sample": False, "set_alpha_to_one": False}
        kind = "one-step" if self._is_one_step(config) else self._scheduler_entry(config)[0]
        extra = {"eta": 0.3} if kind == "tcd" else {}
        return {"type": kind, **usual, **constants, **extra}

    def generation(self, source: FolderSource) -> GenerationDefaults:
        """Return size, steps and guidance."""
        config = json_from_file(self.folder / "scheduler" / "scheduler_config.json")
        _, steps, guidance = self._scheduler_entry(config)
        unet, vae = source.config("unet"), source.config("vae")
        if self._is_one_step(config):
            steps, guidance = 1, 0.0
        if unet.get("time_cond_proj_dim"):
            guidance = 8.0
        widths = vae.get("block_out_channels") or vae["encoder_block_out_channels"]
        size_px = int(unet["sample_size"]) * 2 ** (len(widths) - 1)
        return GenerationDefaults(size_px, size_px, steps, guidance, self._vae_family(vae))

    def text_states(self) -> dict[str, bool]:
        """Return the text encoders, and whether their penultimate states are used (SDXL)."""
        index = json_from_file(self.folder / "model_index.json")
        has_two = (index.get("text_encoder_2") or [None])[0] is not None
        return dict.fromkeys(["text_encoder", *["text_encoder_2"] * has_two], has_two)

    def pad_token_id(self, part: str) -> int:
        """Return what fills a prompt up."""
        from tokenizers import Tokenizer  # noqa: PLC0415 - only here

        from lineup_export.public.tokenizer_files import tokenizer_from_folder  # noqa: PLC0415

        folder = self.folder / part.replace("text_encoder", "tokenizer")
        special = folder / "special_tokens_map.json"
        pad: Any = json_from_file(special).get("pad_token") if special.is_file() else None
        word = pad["content"] if isinstance(pad, dict) else pad
        found = Tokenizer.from_str(tokenizer_from_folder(folder)).token_to_id(word or "")
        return int(found or 0)

    def least_islands(self, source: FolderSource) -> dict[str, frozenset[Island]]:
        """Return what the configurations themselves say half precision cannot hold."""
        islands: dict[str, frozenset[Island]] = {}
        if source.config("unet").get("upcast_attention"):
            islands["unet"] = frozenset({Island.ATTENTION})
        if source.config("vae").get("force_upcast"):
            islands["vae"] = frozenset({Island.EVERYTHING})
        return islands

    def preprocess(self) -> PreprocessDefaults:
        """Return what is done to an image.

        Raises:
            UsageError: The folder does not say.
        """
        path = self.folder / "preprocessor_config.json"
        if not path.is_file():
            raise UsageError(
                f"{self.folder} has no {path.name}, which says how images are prepared.",
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

    def _vae_family(self, vae: Mapping[str, Any]) -> str:
        scaling = vae.get("scaling_factor", 1.0)
        return {0.18215: "sd-kl-f8", 0.13025: "sdxl-kl-f8"}.get(scaling, self.folder.name)

    def _is_one_step(self, config: Mapping[str, Any]) -> bool:
        # The mark of students of adversarial distillation; a multi-step model has "leading".
        is_euler = str(config.get("_class_name", "")).startswith("Euler")
        return is_euler and config.get("timestep_spacing") == "trailing"

    def _scheduler_entry(self, config: Mapping[str, Any]) -> tuple[str, int, float]:
        name = str(config.get("_class_name"))
        if name not in _SCHEDULERS:
            raise UsageError(
                f"{self.folder} is run with {name}, which the runtime does not have.",
                hint=f"These can be exported: {', '.join(_SCHEDULERS)}.",
            )
        return _SCHEDULERS[name]


def defaults_from_folder(folder: Path) -> FolderDefaults:
    """Return what a folder says about how its model is run."""
    return FolderDefaults(folder)
