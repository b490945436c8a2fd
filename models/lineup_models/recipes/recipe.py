"""What a recipe holds; see the TOML files beside this module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class RecipeKind(str, Enum):
    """What a recipe's model does; the kind of its bundle."""

    CAPTIONER = "captioner"
    GENERATOR = "generator"
    ENCODER = "encoder"


class TokenizerFamily(str, Enum):
    """How a model cuts text into tokens."""

    CLIP = "clip"
    BERT = "bert"
    GPT2 = "gpt2"


class TextStates(str, Enum):
    """Which states of a text encoder a denoiser is fed: after all blocks, or before the last."""

    LAST = "last"
    PENULTIMATE = "penultimate"


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes of a component, as the configuration file of its library holds them.

    Attributes:
        class_name: Library and class, e.g. "diffusers.UNet2DConditionModel".
        config: The configuration; `false` stands for null, which TOML lacks, in "mid_block_type".
    """

    class_name: str
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RecipeComponent:
    """One component of a model.

    Attributes:
        part: Folder of the component in a diffusers repository, or "model".
        architecture: Its sizes.
        tokenizer: How its prompts are cut into tokens; None for what reads no text.
        pad_token_id: Fills a prompt up to the length of the text encoder.
        states: What a text encoder puts out.
        least_islands: What stays in single precision in a half-precision graph in any case, as
            weights of the hub need it where random ones would not show it.
    """

    part: str
    architecture: Architecture
    tokenizer: TokenizerFamily | None = None
    pad_token_id: int = 0
    states: TextStates = TextStates.LAST
    least_islands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lora:
    """Low-rank weights that are added to a component when it is exported.

    Attributes:
        part: The component.
        hub_id: Repository.
        revision: Commit, or "main".
        file: Path in the repository.
    """

    part: str
    hub_id: str
    revision: str
    file: str


@dataclass(frozen=True, slots=True)
class GenerationDefaults:
    """How a generator is run; see `lineup.bundles.info.GenerationInfo`."""

    native_width_px: int
    native_height_px: int
    steps: int
    guidance: float
    vae_family: str


@dataclass(frozen=True, slots=True)
class PreprocessDefaults:
    """What is done to an image; see `preprocess` in the manifest."""

    width_px: int
    height_px: int
    resize_mode: str
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class EncoderDefaults:
    """The block compared when the user names none, counted from 1."""

    default_layer: int


@dataclass(frozen=True, slots=True)
class CaptionerDefaults:
    """Text that every caption continues, and the length of the key and value cache."""

    prompt: str
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """A public model.

    Attributes:
        name: What the user calls it; name of its bundle.
        kind: What the model does.
        title: Name for people.
        hub_id: Repository on the Hugging Face hub.
        revision: Commit, or "main" where none is known.
        licence: SPDX expression of the weights' licence.
        accept_licence: Whether the licence has conditions that the user has to accept first.
        download_mb: Expected size of the download in MB (millions of bytes), fp16 where the
            repository has it.
        hazards: What may go wrong.
        recalled: Fields that were written from memory and not looked up.
        components: In the order of the bundle's graphs.
        lora: Low-rank weights to add.
        preprocess: For captioners and encoders.
        generation: For generators.
        scheduler: Constants of a generator's scheduler, named as in diffusers.
        encoder: For encoders.
        captioner: For captioners.
    """

    name: str
    kind: RecipeKind
    title: str
    hub_id: str
    revision: str
    licence: str
    download_mb: int
    components: tuple[RecipeComponent, ...]
    accept_licence: bool = False
    hazards: tuple[str, ...] = ()
    recalled: tuple[str, ...] = ()
    lora: Lora | None = None
    preprocess: PreprocessDefaults | None = None
    generation: GenerationDefaults | None = None
    scheduler: Mapping[str, Any] = field(default_factory=dict)
    encoder: EncoderDefaults | None = None
    captioner: CaptionerDefaults | None = None

    def component(self, part: str) -> RecipeComponent:
        """Return a component by its part.

        Raises:
            KeyError: There is none.
        """
        return next(item for item in self.components if item.part == part)
