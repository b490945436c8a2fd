"""The graphs that the runtime knows: names, axes and samples per role.

Any torch module with the signature of a role becomes a component here, whoever wrote it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from lineup.bundles.info import CaptionerInfo
from lineup_export.component import Component, ModuleBuilder
from lineup_export.graph import InputSpec

SAMPLE_SEED = 20_240_229
IMAGES = 2
"""Images in a sample; torch takes an axis of length 1 for a constant one."""

Sizes = Sequence[tuple[int, int]]
"""Rows and columns of the latents that parity is measured on."""

TIMESTEPS = (999.0, 250.0)
"""Those that parity is measured at."""

_OF_IMAGES = {
    "image_tower": ("cls", "embedding"),
    "image_tower_cut": ("cls",),
    "vision_encoder": ("cross_keys", "cross_values"),
}
"""Outputs of the roles that take images."""


def image_encoder(role: str, module: ModuleBuilder, size_px: int) -> Component:
    """Return an encoder's or captioner's component that takes square images."""
    normal = partial(torch.randn, generator=_seeded())
    samples = [{"pixel_values": normal(IMAGES, 3, size_px, size_px)} for _ in range(2)]
    return _component(role, module, samples, _OF_IMAGES[role])


def text_decoder(
    module: ModuleBuilder, info: CaptionerInfo, *, vocabulary: int, image_tokens: int
) -> Component:
    """Return a captioner's component that takes one token a step."""
    generator = _seeded()
    samples = []
    for position in (0, info.max_tokens // 2, info.max_tokens - 1):
        tokens = torch.randint(0, vocabulary, (IMAGES,), generator=generator)
        sample = {"tokens": tokens, "position": torch.tensor([position])}
        for kind, length in (("past", info.max_tokens), ("cross", image_tokens)):
            shape = IMAGES, info.layers, info.heads, length, info.head_dimension
            for name in ("keys", "values"):
                sample[f"{kind}_{name}"] = torch.randn(*shape, generator=generator)
        samples.append(sample)
    outputs = ("logits", "keys", "values")
    return _component("text_decoder", module, samples, outputs, batch="sequences")


def text_encoder(
    module: ModuleBuilder,
    *,
    length: int,
    vocabulary: int,
    eos_token_id: int,
    role: str = "text_encoder",
    has_pooled: bool = False,
) -> Component:
    """Return a generator's component that encodes prompts."""
    generator = _seeded()
    samples = []
    for words in (length // 4, length - 1):
        tokens = torch.randint(0, vocabulary, (IMAGES, length), generator=generator)
        tokens[:, words:] = eos_token_id
        samples.append({"tokens": tokens})
    outputs = ("text_states", "pooled") if has_pooled else ("text_states",)
    return _component(role, module, samples, outputs, batch="prompts")


def unet(
    module: ModuleBuilder,
    *,
    channels: int,
    text_length: int,
    text_dimension: int,
    multiple: int,
    sizes: Sizes = ((32, 32), (24, 40)),
    pooled_dimension: int = 0,
    guidance_dimension: int = 0,
) -> Component:
    """Return a generator's denoiser.

    Args:
        module: Builds it.
        channels: Of the latents.
        text_length: Tokens of a prompt.
        text_dimension: Length of a token's state.
        multiple: Rows and columns of latents have to be multiples of it.
        sizes: Of the samples.
        pooled_dimension: Length of the pooled text embedding of a UNet that takes one, and with
            it original size, crop and target size (SDXL); else 0.
        guidance_dimension: Length of the embedded guidance scale (LCM); 0 for a UNet without.
    """
    normal = partial(torch.randn, generator=_seeded())
    samples = []
    for (rows, columns), timestep in zip(sizes, TIMESTEPS, strict=True):
        sample = {
            "latents": normal(IMAGES, channels, rows, columns),
            "timestep": torch.full((IMAGES,), timestep),
            "text_states": normal(IMAGES, text_length, text_dimension),
        }
        if pooled_dimension:
            size = [8.0 * rows, 8.0 * columns]
            sample["pooled"] = normal(IMAGES, pooled_dimension)
            sample["time_ids"] = torch.tensor([[*size, 0.0, 0.0, *size]] * IMAGES)
        if guidance_dimension:
            sample["guidance_embedding"] = normal(IMAGES, guidance_dimension)
        samples.append(sample)
    free = {2: "rows", 3: "columns"}
    return _component("unet", module, samples, ("prediction",), free=free, multiple=multiple)


_VAE_SIZES = ((16, 16), (12, 20))


def vae_decoder(module: ModuleBuilder, channels: int, sizes: Sizes = _VAE_SIZES) -> Component:
    """Return a generator's component that turns latents into images."""
    normal = partial(torch.randn, generator=_seeded())
    samples = [{"latents": normal(IMAGES, channels, rows, columns)} for rows, columns in sizes]
    return _component("vae_decoder", module, samples, ("image",), free={2: "rows", 3: "columns"})


def vae_encoder(module: ModuleBuilder, factor: int, sizes: Sizes = _VAE_SIZES) -> Component:
    """Return a generator's component that turns images into latents, `factor` pixels a cell."""
    uniform = partial(torch.rand, generator=_seeded())
    samples = [
        {"image": 2 * uniform(IMAGES, 3, factor * rows, factor * columns) - 1}
        for rows, columns in sizes
    ]
    free = {2: "height", 3: "width"}
    return _component("vae_encoder", module, samples, ("latents",), free=free, multiple=factor)


def _component(
    role: str,
    module: ModuleBuilder,
    samples: Sequence[Mapping[str, Tensor]],
    outputs: tuple[str, ...],
    *,
    batch: str = "images",
    free: Mapping[int, str] | None = None,
    multiple: int = 1,
) -> Component:
    """Assemble a component; its last sample is the one that torch traces.

    `batch` is what the first axis counts of an input with one entry per image; `free` are further
    free axes of the first input, whose lengths have to be multiples of `multiple`.
    """
    sizes = dict(free or {})
    multiples = dict.fromkeys(sizes.values(), multiple)
    inputs: list[InputSpec] = []
    for name, example in samples[-1].items():
        axes = {0: batch} if len(example) == IMAGES else {}
        inputs.append(InputSpec(name, example, axes if inputs else {**axes, **sizes}, multiples))
    return Component(role, module, tuple(inputs), outputs, tuple(samples))


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(SAMPLE_SEED)
