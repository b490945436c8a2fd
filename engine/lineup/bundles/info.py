"""What the manifest of a bundle says of its model, per kind of bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class FingerprintInfo:
    """What a fingerprint bundle puts out.

    Attributes:
        dimension: Length of a fingerprint.
        method: Name of the method, e.g. "whitened-residual-spectrum".
        details: Constants of the method that a reader may want to know.
    """

    dimension: int
    method: str
    details: Mapping[str, Any] = field(default_factory=dict)


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

    layers: tuple[int, ...]
    default_layer: int
    dimension: int
    embedding_dimension: int | None = None


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

    bos_token_id: int
    eos_token_id: int
    pad_token_id: int
    max_tokens: int
    layers: int
    heads: int
    head_dimension: int
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

    role: str
    tokenizer: str
    length: int
    pad_token_id: int


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

    native_width_px: int
    native_height_px: int
    steps: int
    guidance: float
    latent_channels: int
    latent_factor: int
    latent_scaling: float
    latent_shift: float
    vae_family: str
    text_encoders: tuple[TextEncoderInfo, ...]

    @property
    def native_axes(self) -> dict[str, int]:
        """Length of the free axes of latents and images, by name, at the native size."""
        return {
            "rows": self.native_height_px // self.latent_factor,
            "columns": self.native_width_px // self.latent_factor,
            "height": self.native_height_px,
            "width": self.native_width_px,
        }
