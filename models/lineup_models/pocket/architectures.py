"""The architectures of the pocket lineup by name: autoencoders, denoisers, text encoders."""

from __future__ import annotations

from dataclasses import dataclass

from lineup_models.pocket.blocks import Activation, BlockKind, DownKind, NormKind, UpKind
from lineup_models.pocket.text import TextEncoderSpec
from lineup_models.pocket.unet import UNetSpec
from lineup_models.pocket.vae import VaeSpec

SIZE_PX = 256
"""Side of the pictures."""

VAES = {
    "fern": VaeSpec(
        latent_channels=4,
        encoder_widths=(8, 16, 32, 64),
        decoder_widths=(64, 32, 16, 8),
        blocks=(1, 1, 1, 0),
        up=UpKind.NEAREST,
        down=DownKind.STRIDED,
        norm=NormKind.GROUP,
    ),
    "moss": VaeSpec(
        latent_channels=8,
        encoder_widths=(8, 16, 32, 48, 64),
        decoder_widths=(56, 40, 32, 16, 8),
        blocks=(1, 1, 1, 1, 0),
        up=UpKind.PIXEL_SHUFFLE,
        down=DownKind.PIXEL_UNSHUFFLE,
        norm=NormKind.RMS,
    ),
    "reed": VaeSpec(
        latent_channels=12,
        encoder_widths=(8, 16, 24, 48, 64),
        decoder_widths=(64, 48, 24, 16, 8),
        blocks=(1, 2, 1, 1, 0),
        up=UpKind.TRANSPOSED,
        down=DownKind.STRIDED,
        norm=NormKind.BATCH,
        activation=Activation.RELU,
    ),
    "sedge": VaeSpec(
        latent_channels=3,
        encoder_widths=(8, 16, 32, 48),
        decoder_widths=(64, 40, 16, 8),
        blocks=(2, 1, 1, 0),
        up=UpKind.BILINEAR,
        down=DownKind.AVERAGE,
        norm=NormKind.NONE,
        activation=Activation.LEAKY,
    ),
}
"""Autoencoders: f8 c4, f16 c8, f16 c12, f8 c3."""

TEACHER_VAE = "moss"

TEACHER_TEXT = TextEncoderSpec(dimension=96, blocks=2)
TEACHER_UNET = UNetSpec(
    latent_channels=8,
    widths=(96, 128),
    blocks=(2, 1),
    attention=(0, 1),
    text_dimension=96,
)


@dataclass(frozen=True, slots=True)
class GeneratorSpec:
    """A one-step generator.

    Attributes:
        vae: Its autoencoder, one of `VAES`.
        unet: Its denoiser.
        text: Its text encoder; None where it uses the teacher's as it is.
    """

    vae: str
    unet: UNetSpec
    text: TextEncoderSpec | None = None


GENERATORS = {
    "pocket-ash": GeneratorSpec(
        "fern",
        UNetSpec(
            latent_channels=4,
            widths=(36, 72, 96),
            blocks=(1, 1, 1),
            attention=(1, 2),
            text_dimension=96,
        ),
    ),
    "pocket-birch": GeneratorSpec(
        "fern",
        UNetSpec(
            latent_channels=4,
            widths=(40, 72, 104),
            blocks=(1, 2, 1),
            attention=(1, 2),
            text_dimension=96,
            up=UpKind.PIXEL_SHUFFLE,
            down=DownKind.PIXEL_UNSHUFFLE,
            norm=NormKind.RMS,
            block=BlockKind.DEPTHWISE,
            activation=Activation.GELU,
        ),
    ),
    "pocket-cedar": GeneratorSpec(
        "moss",
        UNetSpec(
            latent_channels=8,
            widths=(80, 96),
            blocks=(1, 1),
            attention=(0, 1),
            text_dimension=80,
            up=UpKind.TRANSPOSED,
            norm=NormKind.GROUP,
        ),
        TextEncoderSpec(dimension=80, blocks=2),
    ),
    "pocket-dogwood": GeneratorSpec(
        "reed",
        UNetSpec(
            latent_channels=12,
            widths=(96, 112),
            blocks=(2, 2),
            attention=(0, 1),
            text_dimension=64,
            up=UpKind.NEAREST,
            down=DownKind.AVERAGE,
            norm=NormKind.RMS,
            block=BlockKind.DEPTHWISE,
        ),
        TextEncoderSpec(dimension=64, blocks=3),
    ),
    "pocket-elm": GeneratorSpec(
        "sedge",
        UNetSpec(
            latent_channels=3,
            widths=(36, 64, 96),
            blocks=(1, 1, 1),
            attention=(1, 2),
            text_dimension=72,
            up=UpKind.BILINEAR,
            down=DownKind.AVERAGE,
            norm=NormKind.INSTANCE,
            activation=Activation.LEAKY,
        ),
        TextEncoderSpec(dimension=72, blocks=2),
    ),
}
"""The generators; the first two are siblings, the last is no candidate of the lineup."""

CANDIDATES = ("pocket-ash", "pocket-birch", "pocket-cedar", "pocket-dogwood")
HELD_OUT = "pocket-elm"
