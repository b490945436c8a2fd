"""Public models to bundles: what a recipe or a folder says becomes manifest and components."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lineup.bundles.info import (
    CaptionerInfo,
    EncoderInfo,
    GenerationInfo,
    Preprocess,
    TextEncoderInfo,
)
from lineup.bundles.manifest import BundleKind, Manifest
from lineup.bundles.writer import today
from lineup.errors import UsageError
from lineup_export.assembly import (
    ExportedBundle,
    ExportOptions,
    Watch,
    write_bundle,
)
from lineup_export.component import Component
from lineup_export.contracts import Cache
from lineup_export.precision import Island
from lineup_export.public import parts
from lineup_export.public.defaults import defaults_from_folder
from lineup_export.public.folder import WHOLE, FolderSource
from lineup_export.public.source import ModelSource
from lineup_export.versions import tool_versions
from lineup_models.recipes.recipe import (
    CaptionerDefaults,
    PreprocessDefaults,
    Recipe,
    RecipeKind,
    TextStates,
)

_NEEDED = {
    RecipeKind.CAPTIONER: (WHOLE,),
    RecipeKind.ENCODER: (WHOLE,),
    RecipeKind.GENERATOR: ("text_encoder", "unet", "vae"),
}


@dataclass(frozen=True, slots=True)
class PublicModel:
    """A model to export.

    Attributes:
        kind: What it does.
        name: Name of the bundle.
        licence: SPDX expression of the weights' licence.
        source: Where the components come from.
        recipe: How it is run; None takes what the folder says.
        lora: Low-rank weights to add to the denoiser.
        layer: Block at which an encoder is cut; None takes the recipe's, or the middle.
    """

    kind: RecipeKind
    name: str
    licence: str
    source: ModelSource
    recipe: Recipe | None = None
    lora: Path | None = None
    layer: int | None = None


def bundle_from_model(
    model: PublicModel, target: Path, options: ExportOptions, watch: Watch = lambda *_: None
) -> ExportedBundle:
    """Export a model.

    Args:
        model: What.
        target: Folder that becomes the bundle.
        options: How.
        watch: Told before each component.

    Raises:
        ParityError: A graph does not compute what its module computes.
        UsageError: The model is incomplete or of another kind, or the target exists.
    """
    fields, components, files = described(model)
    description = Manifest(
        graphs={},
        created=today(),
        kind=BundleKind(model.kind.value),
        name=model.name,
        licence=model.licence,
        source=model.source.origin,
        tools=tool_versions(),
        precision=options.precision,
        **fields,
    )
    return write_bundle(target, description, components, files, options, watch)


Described = tuple[dict[str, Any], list[Component], dict[str, bytes]]
"""Fields of the manifest, components, further files."""


def described(model: PublicModel) -> Described:
    """Return what a model's bundle is made of; no component is built yet.

    Raises:
        UsageError: The model is incomplete or of another kind.
    """
    describe = {
        RecipeKind.ENCODER: _encoder,
        RecipeKind.CAPTIONER: _captioner,
        RecipeKind.GENERATOR: _generator,
    }[model.kind]
    for needed in _NEEDED[model.kind]:
        if not model.source.has(needed):
            raise UsageError(
                f"{model.source.origin.id} is no {model.kind.value}: "
                f"it has no component {needed!r}.",
                hint="`lineup models list` shows which recipes are of which kind.",
            )
    return describe(model)


def _encoder(model: PublicModel) -> Described:
    config = parts.vision_config(model.source)
    blocks = config["num_hidden_layers"]
    layer = model.layer
    if layer is None:
        known = model.recipe.encoder if model.recipe is not None else None
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
    fields = {"preprocess": _preprocess(model), "encoder": info}
    return fields, parts.image_towers(model.source, layer), {}


def _captioner(model: PublicModel) -> Described:
    source, config = model.source, model.source.config(WHOLE)
    run = model.recipe.captioner if model.recipe is not None else None
    run = run or CaptionerDefaults(prompt="", max_tokens=40)
    text = config.get("text_config") or config["decoder"]
    vision = parts.vision_config(source)
    is_blip = "text_config" in config
    width = text["hidden_size"] if is_blip else text["n_embd"]
    heads = text["num_attention_heads"] if is_blip else text["n_head"]
    cache = Cache(
        vocabulary=text["vocab_size"],
        layers=text["num_hidden_layers"] if is_blip else text["n_layer"],
        heads=heads,
        head_dimension=width // heads,
        max_tokens=run.max_tokens,
        image_tokens=(vision["image_size"] // vision["patch_size"]) ** 2 + 1,
    )
    info = CaptionerInfo(
        bos_token_id=text["bos_token_id"] if is_blip else _start_token(config, text),
        # BLIP ends a caption with BERT's separator, whatever its configuration calls the end.
        eos_token_id=text["sep_token_id"] if is_blip else text["eos_token_id"],
        pad_token_id=text["pad_token_id"] if is_blip else config["pad_token_id"],
        max_tokens=cache.max_tokens,
        layers=cache.layers,
        heads=cache.heads,
        head_dimension=cache.head_dimension,
        prompt=run.prompt,
    )
    tokenizer = source.tokenizer(WHOLE).encode("utf-8")
    fields = {
        "preprocess": _preprocess(model),
        "captioner": info,
        "tokenizer": "tokenizer.json",
    }
    return fields, parts.captioner_parts(source, cache), {"tokenizer.json": tokenizer}


def _start_token(config: Mapping[str, Any], text: Mapping[str, Any]) -> int:
    start = config.get("decoder_start_token_id")
    return int(text["bos_token_id"] if start is None else start)


def _preprocess(model: PublicModel) -> Preprocess:
    recipe = model.recipe
    given = recipe.preprocess if recipe is not None else None
    if given is None:
        assert isinstance(model.source, FolderSource)
        given = defaults_from_folder(model.source.folder).preprocess()
    size_px = parts.vision_config(model.source)["image_size"]
    return _preprocess_fields(replace(given, width_px=size_px, height_px=size_px))


def _preprocess_fields(given: PreprocessDefaults) -> Preprocess:
    return Preprocess(
        width_px=given.width_px,
        height_px=given.height_px,
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


def _generator(model: PublicModel) -> Described:
    source, recipe = model.source, model.recipe
    if recipe is None:
        assert isinstance(source, FolderSource)
        read = defaults_from_folder(source.folder)
        run, scheduler, states = read.generation(source), read.scheduler(), read.text_states()
        least: dict[str, frozenset[Island]] = read.least_islands(source)
        pads = {part: read.pad_token_id(part) for part in states}
    else:
        assert recipe.generation is not None
        run, scheduler = recipe.generation, dict(recipe.scheduler)
        texts = [item for item in recipe.components if item.tokenizer is not None]
        states = {item.part: item.states is TextStates.PENULTIMATE for item in texts}
        pads = {item.part: item.pad_token_id for item in texts}
        least = {
            item.part: frozenset(map(Island, item.least_islands)) for item in recipe.components
        }
    encoders = parts.text_parts(source, states)
    nothing: frozenset[Island] = frozenset()
    components = [
        *(parts.text_encoder(source, part) for part in encoders),
        parts.denoiser(source, encoders, least.get("unet", nothing), model.lora),
        *parts.autoencoder(source, least.get("vae", nothing)),
    ]
    vae = source.config("vae")
    names = {
        part.part: part.part.replace("text_encoder", "tokenizer") + ".json" for part in encoders
    }
    info = GenerationInfo(
        native_width_px=run.native_width_px,
        native_height_px=run.native_height_px,
        steps=run.steps,
        guidance=run.guidance,
        latent_channels=vae["latent_channels"],
        latent_factor=parts.latent_factor(vae),
        latent_scaling=vae.get("scaling_factor", 1.0),
        latent_shift=vae.get("shift_factor") or 0.0,
        vae_family=run.vae_family,
        text_encoders=tuple(
            TextEncoderInfo(part.part, names[part.part], part.length, pads[part.part])
            for part in encoders
        ),
    )
    files = {names[part.part]: source.tokenizer(part.part).encode("utf-8") for part in encoders}
    fields = {"preprocess": Preprocess(), "generation": info, "scheduler": scheduler}
    return fields, components, files
