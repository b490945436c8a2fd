"""Output of `lineup train pocket` to bundles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lineup.bundles.info import (
    CaptionerInfo,
    EncoderInfo,
    GenerationInfo,
    Preprocess,
    TextEncoderInfo,
)
from lineup.bundles.manifest import BundleKind, Origin, Source
from lineup.files import sha256_from_file
from lineup_export import contracts
from lineup_export.assembly import (
    ExportedBundle,
    Watch,
    write_bundle,
)
from lineup_export.component import Component, ExportOptions, ModuleBuilder
from lineup_export.versions import OWN_TOOLS, tool_versions
from lineup_models.pocket import registry
from lineup_models.pocket.architectures import SIZE_PX
from lineup_models.pocket.text import BOS, EOS, LENGTH, PAD

NAMES = tuple(registry.COMPONENTS)
LICENCE = "Apache-2.0"

SCHEDULER: Mapping[str, Any] = {
    "type": "ddim",
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": registry.PREDICTION_TYPE,
    "timestep_spacing": "trailing",
    "clip_sample": False,
    "set_alpha_to_one": True,
}
"""One step from unit noise at the last timestep to what the denoiser predicts, nothing else: how
the students are distilled. The schedule is that of their teacher."""


def bundle_from_pocket(
    folder: Path | None,
    name: str,
    target: Path,
    options: ExportOptions,
    watch: Watch = lambda *_: None,
) -> ExportedBundle:
    """Export a model of the pocket lineup, one of `NAMES`; see `write_bundle`.

    `folder` is the output of `lineup train pocket`, or None for random weights.

    Raises:
        BundleNotFoundError: The folder has no weights of the model.
    """
    describe = {registry.CLIP: _clip, registry.CAPTIONER: _captioner}.get(name, _generator)
    fields, components = describe(folder, name)
    fields |= {"name": name, "licence": LICENCE, "tools": tool_versions(OWN_TOOLS)}
    files = {}
    if name != registry.CLIP:
        tokenizer = registry.load_tokenizer(folder).to_str().encode("utf-8")
        files[registry.TOKENIZER_NAME] = tokenizer
    return write_bundle(target, fields, components, files, options, watch)


Described = tuple[dict[str, Any], list[Component]]
"""Fields of the manifest, and components."""


def _builder(folder: Path | None, bundle: str, component: str) -> ModuleBuilder:
    return lambda _: registry.load_component(folder, bundle, component)


def _clip(folder: Path | None, name: str) -> Described:
    spec = registry.load_clip(folder).spec
    components = [
        # The whole tower refers to the weights of the one that is cut.
        contracts.image_encoder(role, _builder(folder, name, role), spec.size_px)
        for role in ("image_tower_cut", "image_tower")
    ]
    encoder = EncoderInfo(
        layers=tuple(range(1, spec.blocks + 1)),
        default_layer=spec.middle,
        dimension=spec.dimension,
        embedding_dimension=spec.embedding,
    )
    fields = {
        "kind": BundleKind.ENCODER,
        "source": _source(folder, ("clip",)),
        "preprocess": _preprocess(spec.size_px),
        "encoder": encoder,
    }
    return fields, components


def _captioner(folder: Path | None, name: str) -> Described:
    model = registry.load_captioner(folder)
    spec = model.spec
    info = CaptionerInfo(
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
        max_tokens=spec.max_tokens,
        layers=spec.layers,
        heads=spec.heads,
        head_dimension=spec.head_dimension,
    )
    vision, text = (_builder(folder, name, role) for role in ("vision_encoder", "text_decoder"))
    components = [
        contracts.image_encoder("vision_encoder", vision, spec.size_px),
        contracts.text_decoder(
            text,
            info,
            vocabulary=model.embedding.num_embeddings,
            image_tokens=spec.image_tokens,
        ),
    ]
    fields = {
        "kind": BundleKind.CAPTIONER,
        "source": _source(folder, ("captioner",)),
        # The captioner learnt from pictures that were reduced by averaging areas.
        "preprocess": _preprocess(spec.size_px, "area"),
        "captioner": info,
        "tokenizer": registry.TOKENIZER_NAME,
    }
    return fields, components


def _generator(folder: Path | None, name: str) -> Described:
    spec = registry.load_generator(folder, name).spec
    vae = registry.load_vae(folder, spec.vae)
    text, unet, decoder, encoder = (
        _builder(folder, name, role)
        for role in ("text_encoder", "unet", "vae_decoder", "vae_encoder")
    )
    components = [
        contracts.text_encoder(text, length=LENGTH, vocabulary=registry.words(), eos_token_id=EOS),
        contracts.unet(
            unet,
            channels=vae.spec.latent_channels,
            text_length=LENGTH,
            text_dimension=spec.unet.text_dimension,
            multiple=2 ** (len(spec.unet.widths) - 1),
        ),
        contracts.vae_decoder(decoder, vae.spec.latent_channels),
        contracts.vae_encoder(encoder, vae.spec.factor),
    ]
    generation = GenerationInfo(
        native_width_px=SIZE_PX,
        native_height_px=SIZE_PX,
        steps=1,
        guidance=0.0,
        latent_channels=vae.spec.latent_channels,
        latent_factor=vae.spec.factor,
        latent_scaling=float(vae.latent_scaling),
        latent_shift=float(vae.latent_shift),
        vae_family=f"pocket-{spec.vae}",
        text_encoders=(TextEncoderInfo("text_encoder", registry.TOKENIZER_NAME, LENGTH, PAD),),
    )
    fields = {
        "kind": BundleKind.GENERATOR,
        "source": _source(
            folder, (name, f"vae-{spec.vae}"), registry.record_of_model(folder, name)
        ),
        "preprocess": _preprocess(SIZE_PX),
        "generation": generation,
        "scheduler": dict(SCHEDULER),
        "tokenizer": registry.TOKENIZER_NAME,
    }
    return fields, components


def _source(
    folder: Path | None, parts: Sequence[str], record: Mapping[str, Any] | None = None
) -> Source:
    """Return where the weights come from: the files of `parts`, of which the first is its own."""
    if folder is None:
        return Source(Origin.RANDOM, "random:0", "lineup_models.pocket")
    digests = {part: sha256_from_file(registry.weights_path(folder, part)) for part in parts}
    return Source(
        Origin.TRAINED,
        "lineup train pocket",
        f"sha256:{digests[parts[0]]}",
        {"weights": digests, **(record or {})},
    )


def _preprocess(size_px: int, interpolation: str = "bicubic") -> Preprocess:
    """Return what the host does to an image: -1..1, the square in the centre."""
    return Preprocess(
        width_px=size_px,
        height_px=size_px,
        resize_mode="shortest_edge_crop",
        interpolation=interpolation,
        antialias=True,
        crop="center",
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        value_range=(-1.0, 1.0),
        colour_order="RGB",
        layout="NCHW",
    )
