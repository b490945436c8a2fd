"""Presets of the pocket lineup's training: everything it is made with, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lineup_models.pocket.architectures import GENERATORS, TEACHER, VAES, GeneratorSpec
from lineup_models.pocket.captioner import CaptionerSpec
from lineup_models.pocket.captioner_training import CaptionerOptions
from lineup_models.pocket.clip import ClipSpec
from lineup_models.pocket.clip_training import ClipOptions
from lineup_models.pocket.generator import SamplingOptions
from lineup_models.pocket.pairs import PairsOptions
from lineup_models.pocket.student_training import StudentOptions
from lineup_models.pocket.teacher_training import TeacherOptions
from lineup_models.pocket.vae import VaeSpec
from lineup_models.pocket.vae_training import VaeOptions
from lineup_models.training import LoopOptions


@dataclass(frozen=True, slots=True)
class Preset:
    """A whole training.

    Attributes:
        name: How records call it.
        pictures: Rendered pictures to learn from.
        held_out: Further ones, for figures alone.
        vae: How the autoencoders are trained.
        vae_steps: Steps of those autoencoders that get another number of them.
        clip: How the CLIP is trained.
        captioner: How the captioner is trained.
        teacher: How the teacher is trained.
        pairs: What the teacher draws for the students.
        student: How the students are trained.
        vaes: Architectures of the autoencoders, by name.
        clip_spec: Sizes of the CLIP.
        captioner_spec: Sizes of the captioner.
        teacher_spec: Architecture of the teacher.
        generators: Architectures of the students, by name.
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


_CPU_VAE = VaeOptions(
    loop=LoopOptions(1100, 3e-3, warmup_steps=50, checkpoint_steps=100), bfloat16=True
)

CPU = Preset(
    name="cpu",
    pictures=8192,
    held_out=512,
    vae=_CPU_VAE,
    vae_steps={"moss": 1400},
    clip=ClipOptions(
        loop=LoopOptions(800, 1e-3, warmup_steps=40, checkpoint_steps=50),
        whole_share=0.1,
        bfloat16=True,
    ),
    captioner=CaptionerOptions(
        loop=LoopOptions(2600, 1.5e-3, warmup_steps=100, checkpoint_steps=100), bfloat16=True
    ),
    teacher=TeacherOptions(
        loop=LoopOptions(3500, 1.2e-3, warmup_steps=100, checkpoint_steps=100), bfloat16=True
    ),
    pairs=PairsOptions(pairs=4000, sampling=SamplingOptions(steps=6, guidance=1.5), bfloat16=True),
    student=StudentOptions(
        loop=LoopOptions(500, 2e-3, warmup_steps=30, checkpoint_steps=50),
        pictures=24,
        decoded=12,
        bfloat16=True,
    ),
)
"""About two hours of two cores."""

_GPU_VAE = VaeOptions(
    loop=LoopOptions(20_000, 2e-3, warmup_steps=200, checkpoint_steps=1000), crop_px=96, crops=48
)

GPU = Preset(
    name="gpu",
    pictures=40_000,
    held_out=2000,
    vae=_GPU_VAE,
    vae_steps={},
    clip=ClipOptions(
        loop=LoopOptions(8000, 5e-4, warmup_steps=500, checkpoint_steps=500),
        pictures=512,
        bfloat16=True,
    ),
    captioner=CaptionerOptions(
        loop=LoopOptions(10_000, 1e-3, warmup_steps=500, checkpoint_steps=1000),
        pictures=128,
        bfloat16=True,
    ),
    teacher=TeacherOptions(
        loop=LoopOptions(40_000, 8e-4, warmup_steps=500, checkpoint_steps=2000),
        pictures=256,
        average_decay=0.9995,
        bfloat16=True,
    ),
    pairs=PairsOptions(pairs=60_000, at_once=256, bfloat16=True),
    student=StudentOptions(
        loop=LoopOptions(20_000, 1e-3, warmup_steps=500, checkpoint_steps=1000),
        pictures=128,
        average_decay=0.999,
        bfloat16=True,
    ),
)
"""The same models with twenty times the training."""

PRESETS = {preset.name: preset for preset in (CPU, GPU)}
