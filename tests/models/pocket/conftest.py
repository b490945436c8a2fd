from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from lineup_models.pocket.architectures import GeneratorSpec
from lineup_models.pocket.blocks import DownKind, NormKind, UpKind
from lineup_models.pocket.captioner import CaptionerSpec
from lineup_models.pocket.clip import ClipSpec
from lineup_models.pocket.generator import SamplingOptions
from lineup_models.pocket.presets import (
    CaptionerOptions,
    ClipOptions,
    PairsOptions,
    Preset,
    StudentOptions,
    TeacherOptions,
    VaeOptions,
)
from lineup_models.pocket.text import TextEncoderSpec
from lineup_models.pocket.unet import TranslatorSpec, UNetSpec
from lineup_models.pocket.vae import VaeSpec
from lineup_models.training import LoopOptions

LOOP = LoopOptions(steps=4, learning_rate=1e-3, warmup_steps=1, checkpoint_steps=2)
TEXT = TextEncoderSpec(dimension=8, blocks=1, heads=2, ratio=2)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Toy networks are slower on several threads, and sums come out the same on one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def unet(channels: int, levels: int) -> UNetSpec:
    return UNetSpec(
        latent_channels=channels,
        widths=(8,) * levels,
        blocks=(1,) * levels,
        attention=(levels - 1,),
        self_attention=(levels - 1,),
        text_dimension=8,
        heads=2,
    )


@pytest.fixture(scope="session")
def preset() -> Preset:
    """A training of networks as small as can be, in two latent spaces."""
    coarse = VaeSpec(
        latent_channels=3,
        encoder_widths=(4, 4, 4, 4, 8),
        decoder_widths=(8, 4, 4, 4, 4),
        blocks=(1, 0, 0, 0, 0),
        up=UpKind.PIXEL_SHUFFLE,
        down=DownKind.PIXEL_UNSHUFFLE,
        norm=NormKind.RMS,
    )
    fine = VaeSpec(
        latent_channels=3,
        encoder_widths=(4, 4, 4, 8),
        decoder_widths=(8, 4, 4, 4),
        blocks=(1, 0, 0, 0),
        up=UpKind.NEAREST,
        down=DownKind.STRIDED,
        norm=NormKind.GROUP,
    )
    vae = VaeOptions(LOOP, bfloat16=False, crop_px=32, crops=4)
    return Preset(
        name="toy",
        pictures=6,
        held_out=3,
        vae=vae,
        vae_steps={"fine": 3},
        clip=ClipOptions(LOOP, bfloat16=False, pictures=4),
        captioner=CaptionerOptions(LOOP, bfloat16=False, pictures=3),
        teacher=TeacherOptions(LOOP, bfloat16=False, pictures=4),
        pairs=PairsOptions(pairs=5, sampling=SamplingOptions(steps=2), at_once=3, bfloat16=False),
        student=StudentOptions(
            LOOP, bfloat16=False, pictures=3, later_share=0.5, translation_steps=2
        ),
        vaes={"coarse": coarse, "fine": fine},
        clip_spec=ClipSpec(
            dimension=8, blocks=2, heads=2, stem=(4, 4), embedding=8, middle=1, text=TEXT
        ),
        captioner_spec=CaptionerSpec(stem=(4, 4, 8), dimension=8, layers=1, heads=2),
        teacher_spec=GeneratorSpec("coarse", unet(3, 2), TEXT),
        generators={
            "sibling": GeneratorSpec(
                "fine",
                unet(3, 2),
                from_teacher=True,
                translator=TranslatorSpec(3, 2, widths=(8, 8), blocks=(1, 0)),
            ),
            "other": GeneratorSpec("coarse", unet(3, 2), TEXT),
        },
    )
