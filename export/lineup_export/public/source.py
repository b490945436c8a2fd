"""Where the components of a public model come from."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from lineup.bundles.manifest import Origin, Source
from lineup_export.public.random_weights import random_module
from lineup_export.public.tiny import tiny_config
from lineup_export.public.tokenizer_files import spelling_tokenizer
from lineup_models.recipes.recipe import Recipe, TokenizerFamily


class ModelSource(Protocol):
    """Gives the components of one model, one at a time."""

    @property
    def origin(self) -> Source:
        """What the manifest says about where the weights come from."""
        ...

    def has(self, part: str) -> bool:
        """Return whether the model has such a component."""
        ...

    def config(self, part: str) -> Mapping[str, Any]:
        """Return the configuration of a component."""
        ...

    def class_name(self, part: str) -> str:
        """Return library and class of a component, e.g. "diffusers.AutoencoderKL"."""
        ...

    def module(self, part: str, dtype: torch.dtype) -> nn.Module:
        """Build a component with its weights."""
        ...

    def tokenizer(self, part: str) -> str:
        """Return the tokenizer of a component, the content of a tokenizer.json."""
        ...


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

    def has(self, part: str) -> bool:
        """Return whether the recipe has such a component."""
        return any(component.part == part for component in self.recipe.components)

    def config(self, part: str) -> Mapping[str, Any]:
        """Return the configuration of a component."""
        architecture = self.recipe.component(part).architecture
        config = dict(architecture.config)
        if config.get("mid_block_type") is False:
            config["mid_block_type"] = None
        return tiny_config(architecture.class_name, config) if self.is_tiny else config

    def class_name(self, part: str) -> str:
        """Return library and class of a component."""
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
    if class_name.startswith("diffusers."):
        module: nn.Module = kind.from_config(dict(config))
        return module
    built: nn.Module = kind(_transformers_config(kind, config))
    return built


def _transformers_config(kind: Any, config: Mapping[str, Any]) -> Any:
    values = {key: value for key, value in config.items() if key != "model_type"}
    config_class = kind.config_class
    if "encoder" in values and "decoder" in values:
        auto = importlib.import_module("transformers").AutoConfig
        parts = [auto.for_model(**values.pop(key)) for key in ("encoder", "decoder")]
        return config_class.from_encoder_decoder_configs(*parts, **values)
    return config_class(**values)
