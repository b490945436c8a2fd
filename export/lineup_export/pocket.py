"""Output of `lineup train pocket` to bundles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from lineup.bundles.manifest import BundleKind, Manifest, Origin, Source
from lineup.bundles.writer import today
from lineup.files import sha256_from_file
from lineup_export import contracts
from lineup_export.assembly import (
    ExportedBundle,
    ExportOptions,
    Watch,
    tool_versions,
    write_bundle,
)
from lineup_export.component import Component
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
    """Export one model of the pocket lineup.

    Args:
        folder: Output of `lineup train pocket`; None for random weights.
        name: One of `NAMES`.
        target: Folder that becomes the bundle.
        options: How.
        watch: Told before each component.

    Raises:
        BundleNotFoundError: The folder has no weights of the model.
        ParityError: A graph does not compute what its module computes.
        UsageError: The target exists, or the opset is not supported.
    """
    if name == registry.CLIP:
        description, components = _clip(folder, options)
    elif name == registry.CAPTIONER:
        description, components = _captioner(folder, options)
    else:
        description, components = _generator(folder, name, options)
    tokenizer = registry.load_tokenizer(folder).to_str().encode("utf-8")
    files = {} if name == registry.CLIP else {registry.TOKENIZER_NAME: tokenizer}
    return write_bundle(target, description, components, files, options, watch)


def _builder(folder: Path | None, bundle: str, component: str) -> contracts.ModuleBuilder:
    def module(_: torch.dtype) -> nn.Module:
        return registry.load_component(folder, bundle, component)

    return module


def _clip(folder: Path | None, options: ExportOptions) -> tuple[Manifest, list[Component]]:
    spec = registry.load_clip(folder).spec
    size_px = (spec.size_px, spec.size_px)
    components = [
        # The whole tower refers to the weights of the one that is cut.
        contracts.image_tower(
            _builder(folder, registry.CLIP, "image_tower_cut"),
            size_px,
            role="image_tower_cut",
            has_embedding=False,
        ),
        contracts.image_tower(_builder(folder, registry.CLIP, "image_tower"), size_px),
    ]
    encoder = EncoderInfo(
        layers=tuple(range(1, spec.blocks + 1)),
        default_layer=spec.middle,
        dimension=spec.dimension,
        embedding_dimension=spec.embedding,
    )
    about = _description(
        BundleKind.ENCODER, registry.CLIP, ("clip",), folder, options, spec.size_px
    )
    return Manifest(**about, graphs={}, created=today(), encoder=encoder), components


def _captioner(folder: Path | None, options: ExportOptions) -> tuple[Manifest, list[Component]]:
    model = registry.load_captioner(folder)
    spec = model.spec
    cache = contracts.Cache(
        vocabulary=model.embedding.num_embeddings,
        layers=spec.layers,
        heads=spec.heads,
        head_dimension=spec.head_dimension,
        max_tokens=spec.max_tokens,
        image_tokens=spec.image_tokens,
    )
    name = registry.CAPTIONER
    components = [
        contracts.vision_encoder(
            _builder(folder, name, "vision_encoder"), (spec.size_px, spec.size_px)
        ),
        contracts.text_decoder(_builder(folder, name, "text_decoder"), cache),
    ]
    info = CaptionerInfo(
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
        max_tokens=cache.max_tokens,
        layers=cache.layers,
        heads=cache.heads,
        head_dimension=cache.head_dimension,
    )
    about = _description(BundleKind.CAPTIONER, name, ("captioner",), folder, options, spec.size_px)
    described = Manifest(
        **about, graphs={}, created=today(), captioner=info, tokenizer=registry.TOKENIZER_NAME
    )
    return described, components


def _generator(
    folder: Path | None, name: str, options: ExportOptions
) -> tuple[Manifest, list[Component]]:
    spec = registry.load_generator(folder, name).spec
    vae = registry.load_vae(folder, spec.vae)
    denoiser = contracts.Denoiser(
        channels=vae.spec.latent_channels,
        text_length=LENGTH,
        text_dimension=spec.unet.text_dimension,
        multiple=2 ** (len(spec.unet.widths) - 1),
    )
    components = [
        contracts.text_encoder(
            _builder(folder, name, "text_encoder"),
            length=LENGTH,
            vocabulary=registry.words(),
            eos_token_id=EOS,
        ),
        contracts.unet(_builder(folder, name, "unet"), denoiser),
        contracts.vae_decoder(_builder(folder, name, "vae_decoder"), vae.spec.latent_channels),
        contracts.vae_encoder(_builder(folder, name, "vae_encoder"), vae.spec.factor),
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
        text_encoders=(
            TextEncoderInfo(
                role="text_encoder",
                tokenizer=registry.TOKENIZER_NAME,
                length=LENGTH,
                pad_token_id=PAD,
            ),
        ),
    )
    parts, record = (name, f"vae-{spec.vae}"), registry.record_of_model(folder, name)
    about = _description(BundleKind.GENERATOR, name, parts, folder, options, SIZE_PX, record)
    described = Manifest(
        graphs={},
        created=today(),
        **about,
        generation=generation,
        scheduler=dict(SCHEDULER),
        tokenizer=registry.TOKENIZER_NAME,
    )
    return described, components


def _description(
    kind: BundleKind,
    name: str,
    parts: Sequence[str],
    folder: Path | None,
    options: ExportOptions,
    size_px: int,
    record: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the fields that every kind of bundle has."""
    if folder is None:
        source = Source(Origin.RANDOM, "random:0", "lineup_models.pocket")
    else:
        digests = {part: sha256_from_file(registry.weights_path(folder, part)) for part in parts}
        source = Source(
            Origin.TRAINED,
            "lineup train pocket",
            f"sha256:{digests[parts[0]]}",
            {"weights": digests, **(record or {})},
        )
    return {
        "kind": kind,
        "name": name,
        "licence": LICENCE,
        "source": source,
        "tools": tool_versions(("numpy", "onnx", "onnxruntime", "onnxscript", "torch")),
        "precision": options.precision,
        "preprocess": _preprocess(kind, size_px),
    }


def _preprocess(kind: BundleKind, size_px: int) -> Preprocess:
    """Return what the host does to an image: -1..1, the square in the centre."""
    return Preprocess(
        width_px=size_px,
        height_px=size_px,
        resize_mode="shortest_edge_crop",
        # The captioner learnt from pictures that were reduced by averaging areas.
        interpolation="area" if kind is BundleKind.CAPTIONER else "bicubic",
        antialias=True,
        crop="center",
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        value_range=(-1.0, 1.0),
        colour_order="RGB",
        layout="NCHW",
    )
