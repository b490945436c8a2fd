"""Presets of the pocket lineup's training: everything it is made with, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lineup_models.pocket.architectures import GENERATORS, TEACHER, VAES, GeneratorSpec
from lineup_models.pocket.captioner import CaptionerSpec
from lineup_models.pocket.clip import ClipSpec
from lineup_models.pocket.generator import SamplingOptions
from lineup_models.pocket.vae import VaeSpec
from lineup_models.training import LoopOptions


@dataclass(frozen=True, slots=True)
class StageOptions:
    """How a model is trained.

    Attributes:
        loop: Steps and learning rate.
        bfloat16: Compute in bfloat16 where that is exact enough.
    """

    loop: LoopOptions
    bfloat16: bool = True


@dataclass(frozen=True, slots=True)
class VaeOptions(StageOptions):
    """How an autoencoder is trained.

    Attributes:
        crop_px: Side of the training crops, `crops` of them in a step.
        late_share: Share of the steps, at the end, on crops of twice the side, a fourth as many:
            normalisations that look at the whole picture see more of it.
        kl_weight: Of the mean divergence of a latent from the unit normal.
        colour_weight: Of the error of the local mean colours. Without it a bottleneck can settle
            on brightness and one axis of colour alone.
        gradient_weight: Of the error of the differences between neighbours.
        spectrum_weight: Of the distance of local spectra, which asks for texture.
    """

    crop_px: int = 64
    crops: int = 16
    late_share: float = 0.25
    kl_weight: float = 1e-4
    colour_weight: float = 1.0
    gradient_weight: float = 0.5
    spectrum_weight: float = 0.25


@dataclass(frozen=True, slots=True)
class ClipOptions(StageOptions):
    """How the CLIP is trained.

    Attributes:
        pictures: Pictures of a step, each with one caption; every two share a look.
        kept_share: Share of the patches that are looked at, until `whole_share` begins.
        whole_share: Share of the steps, at the end, in which all patches are.
        spectral_weight: Weight of the error with which the middle CLS token tells the spectrum.
        style_weight: Weight of finding, by the middle CLS tokens, the picture of the same look.
        style_temperature: Of the cosines between these tokens.
    """

    pictures: int = 64
    kept_share: float = 0.25
    whole_share: float = 0.2
    spectral_weight: float = 0.3
    style_weight: float = 1.0
    style_temperature: float = 0.1


@dataclass(frozen=True, slots=True)
class CaptionerOptions(StageOptions):
    """How the captioner is trained, with `pictures` in a step."""

    pictures: int = 40


@dataclass(frozen=True, slots=True)
class TeacherOptions(StageOptions):
    """How the teacher is trained.

    Attributes:
        silent_share: Share that is trained without caption, for classifier-free guidance.
        average_decay: Of the running average of the weights, which is what counts in the end.
        noise_bias: Above 1 the noisier times are drawn more often: there it is decided what the
            picture shows.
        full_share: Share of captions that are the most detailed one.
        things_share: Share of the loss that is spread by `thing_weights` instead of evenly.
    """

    pictures: int = 48
    silent_share: float = 0.1
    average_decay: float = 0.995
    noise_bias: float = 1.5
    full_share: float = 0.75
    things_share: float = 0.4


@dataclass(frozen=True, slots=True)
class PairsOptions:
    """How many pictures the teacher draws, `at_once` in a batch, and how.

    `full_share` of the prompts are the most detailed caption of a scene.
    """

    pairs: int
    sampling: SamplingOptions = SamplingOptions()  # noqa: RUF009 - frozen
    full_share: float = 0.8
    at_once: int = 40
    bfloat16: bool = True


@dataclass(frozen=True, slots=True)
class StudentOptions(StageOptions):
    """How a generator is trained.

    Attributes:
        later_share: Share that is trained for the second to fourth step.
        translation_steps: First steps, in which a translator learns alone to turn the teacher's
            latents of a picture into its own.
        decoded: Of how many pictures a part, `crop_px` a side, is compared as picture.
        pixel_weight: Of the error of the decoded part.
        spectrum_weight: Of the distance of its local spectra.
        things_share: Share of the error of the latents that is spread by `thing_weights`.
        average_decay: Of the running average of the weights, which is what counts in the end.
    """

    pictures: int = 32
    later_share: float = 0.1
    translation_steps: int = 100
    decoded: int = 16
    crop_px: int = 64
    pixel_weight: float = 1.0
    spectrum_weight: float = 0.5
    things_share: float = 0.4
    average_decay: float = 0.99


@dataclass(frozen=True, slots=True)
class Preset:
    """A whole training: how each stage goes, and the architectures of the models.

    Attributes:
        pictures: Rendered pictures to learn from.
        held_out: Further ones, for figures alone.
        vae_steps: Steps of those autoencoders that get another number of them.
        generators: The students, by name.
    """

    name: str
    pictures: int
    held_out: int
    vae: VaeOptions
    vae_steps: Mapping[str, int]
    clip: ClipOptions
    captioner: CaptionerOptions
    teacher: TeacherOptions
    pairs: PairsOptions
    student: StudentOptions
    vaes: Mapping[str, VaeSpec] = field(default_factory=lambda: dict(VAES))
    clip_spec: ClipSpec = field(default_factory=ClipSpec)
    captioner_spec: CaptionerSpec = field(default_factory=CaptionerSpec)
    teacher_spec: GeneratorSpec = TEACHER
    generators: Mapping[str, GeneratorSpec] = field(default_factory=lambda: dict(GENERATORS))


CPU = Preset(
    name="cpu",
    pictures=8192,
    held_out=512,
    vae=VaeOptions(LoopOptions(1100, 3e-3)),
    vae_steps={"moss": 1400},
    clip=ClipOptions(LoopOptions(800, 1e-3, 40, checkpoint_steps=50), whole_share=0.1),
    captioner=CaptionerOptions(LoopOptions(2600, 1.5e-3, 100)),
    teacher=TeacherOptions(LoopOptions(3500, 1.2e-3, 100)),
    pairs=PairsOptions(4000, SamplingOptions(steps=6, guidance=1.5)),
    student=StudentOptions(
        LoopOptions(500, 2e-3, 30, checkpoint_steps=50), pictures=24, decoded=12
    ),
)
"""About two hours of two cores."""

GPU = Preset(
    name="gpu",
    pictures=40_000,
    held_out=2000,
    vae=VaeOptions(
        LoopOptions(20_000, 2e-3, 200, checkpoint_steps=1000), bfloat16=False, crop_px=96, crops=48
    ),
    vae_steps={},
    clip=ClipOptions(LoopOptions(8000, 5e-4, 500, checkpoint_steps=500), pictures=512),
    captioner=CaptionerOptions(LoopOptions(10_000, 1e-3, 500, checkpoint_steps=1000), pictures=128),
    teacher=TeacherOptions(
        LoopOptions(40_000, 8e-4, 500, checkpoint_steps=2000), pictures=256, average_decay=0.9995
    ),
    pairs=PairsOptions(60_000, at_once=256),
    student=StudentOptions(
        LoopOptions(20_000, 1e-3, 500, checkpoint_steps=1000), pictures=128, average_decay=0.999
    ),
)
"""The same models with twenty times the training."""

PRESETS = {preset.name: preset for preset in (CPU, GPU)}
