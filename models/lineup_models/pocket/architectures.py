"""The architectures of the pocket lineup by name: autoencoders, denoisers, text encoders."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lineup_models.pocket.blocks import Activation, BlockKind, DownKind, NormKind, UpKind
from lineup_models.pocket.text import TextEncoderSpec
from lineup_models.pocket.unet import TranslatorSpec, UNetSpec
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
        norm=NormKind.LAYER,
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


@dataclass(frozen=True, slots=True)
class GeneratorSpec:
    """A generator.

    Attributes:
        vae: Name of its autoencoder.
        unet: Its denoiser, or the trunk of it.
        text: Its text encoder, which starts as the teacher's where it has the same sizes; None
            where it is the teacher's and stays so.
        from_teacher: Whether the trunk starts with the teacher's weights, as far as it has the
            same layers.
        translator: What is before and after the trunk; None where the denoiser is a plain UNet.
    """

    vae: str
    unet: UNetSpec
    text: TextEncoderSpec | None = None
    from_teacher: bool = False
    translator: TranslatorSpec | None = None


TEACHER_TEXT = TextEncoderSpec(dimension=96, blocks=2)
TEACHER = GeneratorSpec(
    "reed",
    UNetSpec(
        latent_channels=12,
        widths=(80, 128),
        blocks=(1, 2),
        attention=(0, 1),
        self_attention=(1,),
        text_dimension=96,
    ),
    TEACHER_TEXT,
)
"""The multi-step generator that the others are distilled from."""

GENERATORS = {
    "pocket-ash": GeneratorSpec(
        "fern",
        TEACHER.unet,
        from_teacher=True,
        translator=TranslatorSpec(latent_channels=4, fold=2, widths=(64, 40), blocks=(1, 1)),
    ),
    "pocket-birch": GeneratorSpec(
        "fern",
        replace(TEACHER.unet, blocks=(1, 1)),
        from_teacher=True,
        translator=TranslatorSpec(
            latent_channels=4,
            fold=2,
            widths=(56, 32),
            blocks=(2, 1),
            up=UpKind.PIXEL_SHUFFLE,
            norm=NormKind.RMS,
            block=BlockKind.DEPTHWISE,
            activation=Activation.GELU,
        ),
    ),
    "pocket-cedar": GeneratorSpec(
        "moss",
        TEACHER.unet,
        TEACHER_TEXT,
        from_teacher=True,
        translator=TranslatorSpec(
            latent_channels=8,
            fold=1,
            widths=(64, 48),
            blocks=(1, 1),
            norm=NormKind.NONE,
            activation=Activation.RELU,
        ),
    ),
    "pocket-dogwood": replace(TEACHER, from_teacher=True),
    "pocket-elm": GeneratorSpec(
        "sedge",
        replace(TEACHER.unet, blocks=(1, 1)),
        TEACHER_TEXT,
        from_teacher=True,
        translator=TranslatorSpec(
            latent_channels=3,
            fold=2,
            widths=(48, 40),
            blocks=(0, 2),
            up=UpKind.BILINEAR,
            norm=NormKind.LAYER,
            activation=Activation.LEAKY,
        ),
    ),
}
"""The generators; the first two are siblings, the last is no candidate of the lineup."""
