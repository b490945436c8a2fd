"""The graphs that the runtime knows: names, axes and samples per role.

Any torch module with the signature of a role becomes a component here, whoever wrote it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lineup_export.component import Component
from lineup_export.graph import InputSpec

ModuleBuilder = Callable[[torch.dtype], nn.Module]

SAMPLE_SEED = 20_240_229
IMAGES = 2
"""Images in a sample; torch takes an axis of length 1 for a constant one."""


@dataclass(frozen=True, slots=True)
class Denoiser:
    """What a UNet is fed.

    Attributes:
        channels: Of the latents.
        text_length: Tokens of a prompt.
        text_dimension: Length of a token's state.
        multiple: Rows and columns of latents have to be multiples of it.
        sizes: Rows and columns of the latents that parity is measured on.
        pooled_dimension: Length of the pooled text embedding; 0 for a UNet without.
        has_time_ids: Whether it takes original size, crop and target size (SDXL).
        guidance_dimension: Length of the embedded guidance scale (LCM); 0 for a UNet without.
        timesteps: Those that parity is measured at.
    """

    channels: int
    text_length: int
    text_dimension: int
    multiple: int
    sizes: tuple[tuple[int, int], ...] = ((32, 32), (24, 40))
    pooled_dimension: int = 0
    has_time_ids: bool = False
    guidance_dimension: int = 0
    timesteps: tuple[float, ...] = (999.0, 250.0)


@dataclass(frozen=True, slots=True)
class Cache:
    """Shapes of a captioner's decoder.

    Attributes:
        vocabulary: Number of tokens.
        layers: Decoder blocks.
        heads: Attention heads.
        head_dimension: Length of a key.
        max_tokens: Length of the cache.
        image_tokens: Tokens of an image.
    """

    vocabulary: int
    layers: int
    heads: int
    head_dimension: int
    max_tokens: int
    image_tokens: int

    def shape(self, sequences: int, length: int) -> tuple[int, ...]:
        """Return the shape of keys or values of `length` tokens."""
        return (sequences, self.layers, self.heads, length, self.head_dimension)


def image_tower(
    module: ModuleBuilder,
    size_px: tuple[int, int],
    *,
    role: str = "image_tower",
    has_embedding: bool = True,
) -> Component:
    """Return the component `image_tower` or `image_tower_cut`; `size_px` is height and width."""
    draw = _Draw()
    return _component(
        role,
        module,
        [[draw.normal(IMAGES, 3, *size_px)] for _ in range(2)],
        [("pixel_values", {0: "images"})],
        ("cls", "embedding") if has_embedding else ("cls",),
    )


def vision_encoder(module: ModuleBuilder, size_px: tuple[int, int]) -> Component:
    """Return a captioner's component that turns images into keys and values."""
    draw = _Draw()
    return _component(
        "vision_encoder",
        module,
        [[draw.normal(IMAGES, 3, *size_px)] for _ in range(2)],
        [("pixel_values", {0: "images"})],
        ("cross_keys", "cross_values"),
    )


def text_decoder(module: ModuleBuilder, cache: Cache) -> Component:
    """Return a captioner's component that takes one token a step."""
    draw = _Draw()
    own = cache.shape(IMAGES, cache.max_tokens)
    cross = cache.shape(IMAGES, cache.image_tokens)
    free = {0: "sequences"}
    return _component(
        "text_decoder",
        module,
        [
            [
                draw.integers(cache.vocabulary, IMAGES),
                torch.tensor([position]),
                *(draw.normal(*own) for _ in range(2)),
                *(draw.normal(*cross) for _ in range(2)),
            ]
            for position in (0, cache.max_tokens // 2, cache.max_tokens - 1)
        ],
        [
            ("tokens", free),
            ("position", {}),
            *((f"past_{kind}", free) for kind in ("keys", "values")),
            *((f"cross_{kind}", free) for kind in ("keys", "values")),
        ],
        ("logits", "keys", "values"),
    )


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
    draw = _Draw()
    samples = []
    for words in (length // 4, length - 1):
        tokens = draw.integers(vocabulary, IMAGES, length)
        tokens[:, words:] = eos_token_id
        samples.append([tokens])
    outputs = ("text_states", "pooled") if has_pooled else ("text_states",)
    return _component(role, module, samples, [("tokens", {0: "prompts"})], outputs)


def unet(module: ModuleBuilder, spec: Denoiser) -> Component:
    """Return a generator's denoiser; its latents may be of any size that `spec` allows."""
    draw = _Draw()
    free = {0: "images"}
    names = [("latents", {**free, 2: "rows", 3: "columns"}), ("timestep", free)]
    names.append(("text_states", free))
    if spec.pooled_dimension:
        names.append(("pooled", free))
    if spec.has_time_ids:
        names.append(("time_ids", free))
    if spec.guidance_dimension:
        names.append(("guidance_embedding", free))
    samples = []
    for (rows, columns), timestep in zip(spec.sizes, spec.timesteps, strict=True):
        sample = [
            draw.normal(IMAGES, spec.channels, rows, columns),
            torch.full((IMAGES,), timestep),
            draw.normal(IMAGES, spec.text_length, spec.text_dimension),
        ]
        if spec.pooled_dimension:
            sample.append(draw.normal(IMAGES, spec.pooled_dimension))
        if spec.has_time_ids:
            sizes = [8.0 * rows, 8.0 * columns]
            sample.append(torch.tensor([[*sizes, 0.0, 0.0, *sizes]] * IMAGES))
        if spec.guidance_dimension:
            sample.append(draw.normal(IMAGES, spec.guidance_dimension))
        samples.append(sample)
    multiples = {"rows": spec.multiple, "columns": spec.multiple}
    return _component("unet", module, samples, names, ("prediction",), multiples)


def vae_decoder(
    module: ModuleBuilder,
    channels: int,
    *,
    sizes: Sequence[tuple[int, int]] = ((16, 16), (12, 20)),
) -> Component:
    """Return a generator's component that turns latents into images."""
    draw = _Draw()
    return _component(
        "vae_decoder",
        module,
        [[draw.normal(IMAGES, channels, rows, columns)] for rows, columns in sizes],
        [("latents", {0: "images", 2: "rows", 3: "columns"})],
        ("image",),
    )


def vae_encoder(
    module: ModuleBuilder,
    factor: int,
    *,
    sizes: Sequence[tuple[int, int]] = ((16, 16), (12, 20)),
) -> Component:
    """Return a generator's component that turns images into latents, `factor` pixels a cell."""
    draw = _Draw()
    return _component(
        "vae_encoder",
        module,
        [[draw.uniform(IMAGES, 3, factor * rows, factor * columns)] for rows, columns in sizes],
        [("image", {0: "images", 2: "height", 3: "width"})],
        ("latents",),
        {"height": factor, "width": factor},
    )


def _component(
    role: str,
    module: ModuleBuilder,
    samples: Sequence[Sequence[Tensor]],
    names: Sequence[tuple[str, Mapping[int, str]]],
    outputs: tuple[str, ...],
    multiples: Mapping[str, int] | None = None,
) -> Component:
    """Assemble a component; its last sample is the one that torch traces."""
    inputs = tuple(
        InputSpec(name, example, free, multiples or {})
        for (name, free), example in zip(names, samples[-1], strict=True)
    )
    return Component(role, module, inputs, outputs, tuple(tuple(sample) for sample in samples))


@dataclass(frozen=True, slots=True)
class _Draw:
    """Random tensors, the same in every run."""

    generator: torch.Generator = field(
        default_factory=lambda: torch.Generator().manual_seed(SAMPLE_SEED)
    )

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator)

    def uniform(self, *shape: int) -> Tensor:
        """Return numbers in -1..1."""
        return 2 * torch.rand(*shape, generator=self.generator) - 1

    def integers(self, end: int, *shape: int) -> Tensor:
        return torch.randint(0, end, shape, generator=self.generator)
