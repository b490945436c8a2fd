"""Where the components of a public model come from, and recipes with seeded random weights.

A parameter's values depend on the seed and its name alone, so two components of the same
architecture (two candidates' autoencoders) get the same weights, and an architecture the same ones
in every format up to rounding. Tiny versions have the same kinds of layers, as few and as narrow
as can be.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lineup.bundles.manifest import Origin, Source
from lineup_export.public.tokenizer_files import spelling_tokenizer
from lineup_models.recipes.recipe import Recipe, TokenizerFamily


@dataclass(frozen=True, slots=True)
class RandomSource:
    """A recipe's architecture with seeded random weights.

    Attributes:
        recipe: The recipe.
        seed: Of the weights.
        is_tiny: Shrink every component; for tests.
    """

    recipe: Recipe
    seed: int = 0
    is_tiny: bool = False

    @property
    def origin(self) -> Source:
        """Name seed and recipe."""
        size = "tiny " if self.is_tiny else ""
        return Source(
            Origin.RANDOM,
            f"random:{self.seed}",
            f"architecture of {size}{self.recipe.name}",
            {"hub_id": self.recipe.hub_id, "tokenizer": "stand-in that spells"},
        )

    def config(self, part: str) -> Mapping[str, Any]:
        """Return the configuration of a component."""
        architecture = self.recipe.component(part).architecture
        config = dict(architecture.config)
        if config.get("mid_block_type") is False:
            config["mid_block_type"] = None
        return tiny_config(architecture.class_name, config) if self.is_tiny else config

    def class_name(self, part: str) -> str:
        """Return library and class of a component, e.g. "diffusers.AutoencoderKL"."""
        return self.recipe.component(part).architecture.class_name

    def module(self, part: str, dtype: torch.dtype) -> nn.Module:
        """Build a component; its weights depend on its architecture, so siblings share them."""
        class_name, config = self.class_name(part), self.config(part)
        # A denoiser is the candidate's own; everything else may be shared with another one.
        name = f"{self.recipe.name}/{part}" if part == "unet" else class_name
        return random_module(lambda: module_from_config(class_name, config), dtype, self.seed, name)

    def tokenizer(self, part: str) -> str:
        """Return a stand-in that spells."""
        family = self.recipe.component(part).tokenizer
        return spelling_tokenizer(family or TokenizerFamily.CLIP)


def class_from_name(name: str) -> Any:
    """Return a class of diffusers or transformers."""
    library, _, attribute = name.partition(".")
    return getattr(importlib.import_module(library), attribute)


def module_from_config(class_name: str, config: Mapping[str, Any]) -> nn.Module:
    """Build a module of diffusers or transformers; its weights are what the library draws."""
    kind = class_from_name(class_name)
    values = dict(config)
    if class_name.startswith("diffusers."):
        module: nn.Module = kind.from_config(values)
        return module
    values.pop("model_type", None)
    if "encoder" in values and "decoder" in values:
        auto = class_from_name("transformers.AutoConfig")
        parts = [auto.for_model(**values.pop(key)) for key in ("encoder", "decoder")]
        made = kind.config_class.from_encoder_decoder_configs(*parts, **values)
    else:
        made = kind.config_class(**values)
    built: nn.Module = kind(made)
    return built


NORM_SPREAD = 0.02


def random_module(
    build: Callable[[], nn.Module], dtype: torch.dtype, seed: int, name: str
) -> nn.Module:
    """Build a module, whose parameters take no memory meanwhile, and fill it.

    The name, e.g. that of the architecture, enters the seed.
    """
    with _parameters_on_meta():
        module = build()
    made: dict[int, nn.Parameter] = {}
    for path, owner in module.named_modules(remove_duplicate=True):
        for key, parameter in list(owner._parameters.items()):
            if parameter is None:
                continue
            # Tied weights are one parameter under two names.
            if id(parameter) not in made:
                tensor = _drawn(parameter, owner, key, f"{name}/{path}.{key}", seed)
                made[id(parameter)] = nn.Parameter(tensor.to(dtype), requires_grad=False)
            owner._parameters[key] = made[id(parameter)]
    return module.eval()


def _drawn(parameter: nn.Parameter, owner: nn.Module, key: str, name: str, seed: int) -> Tensor:
    """Return values that keep the variance of what flows through, and move every part of it."""
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode(), seed))
    values = torch.randn(parameter.shape, generator=generator)
    if parameter.ndim < 2:
        is_scale = key == "weight" and not isinstance(owner, nn.Linear)
        return values.mul_(NORM_SPREAD).add_(1.0 if is_scale else 0.0)
    fan_in = parameter.numel() // parameter.shape[0]
    return values.div_(math.sqrt(fan_in))


@contextlib.contextmanager
def _parameters_on_meta() -> Iterator[None]:
    """Let parameters that modules register take no memory; buffers are computed as ever."""
    register = nn.Module.register_parameter

    def register_meta(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None and parameter.device.type != "meta":
            parameter = nn.Parameter(parameter.to("meta"), requires_grad=parameter.requires_grad)
        register(module, name, parameter)

    nn.Module.register_parameter = register_meta  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]


WIDTH = 8
_TRANSFORMER = {
    "hidden_size": 2 * WIDTH,
    "intermediate_size": 4 * WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
_IMAGES = {"image_size": 4 * WIDTH, "patch_size": 2 * WIDTH}


def tiny_config(class_name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of the tiny version of an architecture."""
    sizes: dict[str, Any]
    match class_name.rpartition(".")[2]:
        case "UNet2DConditionModel":
            sizes = _tiny_unet(config)
        case "AutoencoderKL":
            widths = [WIDTH] * len(config["block_out_channels"])
            sizes = {"block_out_channels": widths, "layers_per_block": 1, "norm_num_groups": 4}
        case "AutoencoderTiny":
            levels = len(config["encoder_block_out_channels"])
            sizes = {
                "encoder_block_out_channels": [WIDTH] * levels,
                "decoder_block_out_channels": [WIDTH] * levels,
                "num_encoder_blocks": [1] * levels,
                "num_decoder_blocks": [1] * levels,
            }
        case "BlipForConditionalGeneration":
            text = {**_TRANSFORMER, "encoder_hidden_size": 2 * WIDTH}
            sizes = {
                "vision_config": {**config["vision_config"], **_TRANSFORMER, **_IMAGES},
                "text_config": {**config["text_config"], **text},
            }
        case "VisionEncoderDecoderModel":
            gpt2 = {"n_embd": 2 * WIDTH, "n_layer": 2, "n_head": 2}
            sizes = {
                "encoder": {**config["encoder"], **_TRANSFORMER, **_IMAGES},
                "decoder": {**config["decoder"], **gpt2},
            }
        case _:  # CLIP's texts and images
            sizes = {**_TRANSFORMER, "projection_dim": WIDTH}
            if "patch_size" in config:
                sizes |= _IMAGES
    return {**config, **sizes}


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
    return sizes


def _ends(levels: Sequence[Any]) -> list[Any]:
    return [levels[0], levels[-1]]


def _ones(depth: Any) -> Any:
    return [_ones(item) for item in depth] if isinstance(depth, list) else 1
