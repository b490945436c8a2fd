"""What the manifest of a bundle says of its model, per kind of bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta

Text: TypeAlias = Annotated[str, Meta(min_length=1)]
Count: TypeAlias = Annotated[int, Meta(ge=0)]
Positive: TypeAlias = Annotated[int, Meta(ge=1)]
Number: TypeAlias = Annotated[float, Meta(ge=0)]

# Kept as they stand in the file: 0 and 0.0 give a bundle different digests.
_Real: TypeAlias = int | float
PerChannel: TypeAlias = Annotated[tuple[_Real, ...], Meta(min_length=3, max_length=3)]

_ResizeMode: TypeAlias = Annotated[
    str, Meta(pattern=r"^(none|stretch|shortest_edge_crop|longest_edge_pad)\Z")
]
_Interpolation: TypeAlias = Annotated[
    str, Meta(pattern=r"^(nearest|bilinear|bicubic|area|lanczos)\Z")
]


@dataclass(frozen=True, slots=True)
class Preprocess:
    """What the host does to an image before the graph; None where a model has no use for it.

    Attributes:
        width_px: Width that the graph takes.
        height_px: Height that the graph takes.
        resize_mode: How an image gets that size; "none": it is cropped or tiled as it is.
        interpolation: Filter of the resize.
        antialias: Whether the filter widens when the image shrinks.
        crop: Where a crop is taken.
        mean: Subtracted per channel, in units of `value_range`.
        std: Divided by per channel, after `mean`.
        colour_order: Order of the channels.
        layout: Order of the axes of an image batch.
        value_range: Lowest and highest pixel value, before `mean` and `std`.
        tile_size_px: Side of the square tiles that an image is cut into.
        max_tiles: Largest number of tiles taken from one image.
    """

    width_px: Positive | None = None
    height_px: Positive | None = None
    resize_mode: _ResizeMode | None = None
    interpolation: _Interpolation | None = None
    antialias: bool | None = None
    crop: Literal["center"] | None = None
    mean: PerChannel | None = None
    std: PerChannel | None = None
    colour_order: Literal["RGB", "BGR"] | None = None
    layout: Literal["NHWC", "NCHW"] | None = None
    value_range: tuple[_Real, _Real] | None = None
    tile_size_px: Positive | None = None
    max_tiles: Positive | None = None

    def given(self) -> dict[str, Any]:
        """Return the fields that the model has a use for."""
        pairs = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in pairs if value is not None}


@dataclass(frozen=True, slots=True)
class FingerprintInfo:
    """What a fingerprint bundle puts out.

    Attributes:
        dimension: Length of a fingerprint.
        method: Name of the method, e.g. "whitened-spectrum-and-texture".
        parts: Lengths of what a fingerprint is made of, each compared by itself; they add up to
            `dimension`. Empty: it is one.
        details: Constants of the method that a reader may want to know.

    Raises:
        ValueError: The parts add up to another length.
    """

    dimension: Positive
    method: Text
    parts: tuple[Positive, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.parts and sum(self.parts) != self.dimension:
            raise ValueError(f"parts {self.parts} of a fingerprint of {self.dimension} numbers")


@dataclass(frozen=True, slots=True)
class EncoderInfo:
    """What the image tower of an encoder bundle puts out.

    Attributes:
        layers: Blocks whose CLS token is put out, counted from 1, rising; the output `cls` has
            one row per entry.
        default_layer: The block compared when the user names none; one of `layers`.
        dimension: Length of a CLS token.
        embedding_dimension: Length of the projected embedding; None when the tower is cut
            before it.
    """

    layers: Annotated[tuple[Positive, ...], Meta(min_length=1)]
    default_layer: Positive
    dimension: Positive
    embedding_dimension: Positive | None = None


@dataclass(frozen=True, slots=True)
class CaptionerInfo:
    """How a captioner's decoder is driven.

    Attributes:
        bos_token_id: First token of every caption.
        eos_token_id: Ends a caption.
        pad_token_id: Fed for captions that have ended.
        max_tokens: Length of the key and value cache; no caption is longer.
        layers: Decoder blocks in the cache.
        heads: Attention heads per block.
        head_dimension: Length of one head's key.
        prompt: Text that every caption continues; empty when there is none.
    """

    bos_token_id: Count
    eos_token_id: Count
    pad_token_id: Count
    max_tokens: Positive
    layers: Positive
    heads: Positive
    head_dimension: Positive
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class TextEncoderInfo:
    """One text encoder of a generator.

    Attributes:
        role: Its graph, e.g. "text_encoder".
        tokenizer: Path of its tokenizer, one of the bundle's files.
        length: Tokens per prompt; shorter prompts are padded, longer ones cut.
        pad_token_id: Fills a prompt up to `length`.
    """

    role: Text
    tokenizer: Text
    length: Positive
    pad_token_id: Count


@dataclass(frozen=True, slots=True)
class GenerationInfo:
    """Defaults and constants of a generator.

    Attributes:
        native_width_px: Width it was trained for.
        native_height_px: Height it was trained for.
        steps: Default number of denoising steps.
        guidance: Default classifier-free guidance scale; 0 is none.
        latent_channels: Channels of a latent.
        latent_factor: Pixels per latent cell and side.
        latent_scaling: The denoiser sees `(latent - latent_shift) * latent_scaling`.
        latent_shift: See `latent_scaling`.
        vae_family: Generators of the same family share their VAE; names it.
        text_encoders: In the order in which their states are joined.
    """

    native_width_px: Positive
    native_height_px: Positive
    steps: Positive
    guidance: Number
    latent_channels: Positive
    latent_factor: Positive
    latent_scaling: Annotated[float, Meta(gt=0)]
    latent_shift: float
    vae_family: Text
    text_encoders: Annotated[tuple[TextEncoderInfo, ...], Meta(min_length=1)]

    @property
    def native_axes(self) -> dict[str, int]:
        """Length of the free axes of latents and images, by name, at the native size."""
        return {
            "rows": self.native_height_px // self.latent_factor,
            "columns": self.native_width_px // self.latent_factor,
            "height": self.native_height_px,
            "width": self.native_width_px,
        }
