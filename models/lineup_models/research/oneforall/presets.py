"""Presets: everything a training is made with, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from lineup_models.fingerprint.spec import SpectrumSpec
from lineup_models.research.oneforall.batches import BatchShape, OnlineOptions
from lineup_models.research.oneforall.denoiser import (
    PUBLISHED_DENOISER,
    SMALL_DENOISER,
    DenoiserOptions,
    DenoiserSpec,
    ResidualSource,
)
from lineup_models.research.oneforall.extractor import LEAN, RESNET50, ExtractorSpec
from lineup_models.research.oneforall.extractor_training import ExtractorOptions, HeadsOptions
from lineup_models.simulator.bank import BankOptions
from lineup_models.simulator.training import TrainingOptions
from lineup_models.training import LoopOptions


class Stage(str, Enum):
    """Stages of the training, in their order."""

    DENOISER = "denoiser"
    SIMULATOR = "simulator"
    EXTRACTOR = "extractor"
    HEADS = "heads"


class Making(str, Enum):
    """How the extractor's batches come about."""

    BANK = "bank"
    """A bank of reconstructions is filled first; batches are drawn from it."""

    ONLINE = "online"
    """Every batch runs fresh photographs through fresh generators."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A whole training.

    Attributes:
        name: How records call it.
        hold_out: Photographs that no stage may see: the lowest by SHA-256 of the file name.
        residual: What takes the content out of an image.
        spectrum: Constants of the log-spectrum.
        denoiser: Sizes of the denoiser.
        denoiser_training: How it is trained.
        simulator_training: How the simulator is trained; seed and hold-out come from the run.
        siblings: Further simulators, the first one moved by noise and trained on.
        sibling_steps: Steps of each.
        making: How batches come about.
        bank: Generators and images of the bank; seed and hold-out come from the run.
        online: Generators and images of batches made on the spot.
        degraded_share: Probability that an image of the bank comes degraded.
        extractor: Sizes of the extractor.
        extractor_training: How it is trained.
        heads_training: How the heads are trained.
    """

    name: str
    hold_out: int = 120
    residual: ResidualSource = ResidualSource.FILTER
    spectrum: SpectrumSpec = field(default_factory=lambda: SpectrumSpec(floor=3.0))
    denoiser: DenoiserSpec = SMALL_DENOISER
    denoiser_training: DenoiserOptions = field(default_factory=DenoiserOptions)
    simulator_training: TrainingOptions = field(default_factory=TrainingOptions)
    siblings: int = 0
    sibling_steps: int = 150
    making: Making = Making.BANK
    bank: BankOptions = field(default_factory=BankOptions)
    online: OnlineOptions = field(default_factory=OnlineOptions)
    degraded_share: float = 0.4
    extractor: ExtractorSpec = LEAN
    extractor_training: ExtractorOptions = field(default_factory=ExtractorOptions)
    heads_training: HeadsOptions = field(default_factory=HeadsOptions)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Return the stages that the fingerprint needs."""
        needless = () if self.residual is ResidualSource.DENOISER else (Stage.DENOISER,)
        return tuple(stage for stage in Stage if stage not in needless)


CPU = Preset(
    name="cpu",
    simulator_training=TrainingOptions(steps=1500, crop_px=80, images_per_step=8),
    siblings=2,
    bank=BankOptions(models=800, photograph_crops=2),
    extractor_training=ExtractorOptions(),
    heads_training=HeadsOptions(loop=LoopOptions(300, 1e-3)),
)
"""About an hour on two cores: closed-form residual, lean extractor on the whitened spectrum."""

GPU = Preset(
    name="gpu",
    residual=ResidualSource.DENOISER,
    # 256 x 129 cells are the half plane itself: nothing is pooled.
    spectrum=SpectrumSpec(pool_height=256, pool_width=129, floor=3.0),
    denoiser=PUBLISHED_DENOISER,
    denoiser_training=DenoiserOptions(
        loop=LoopOptions(20_000, 1e-3, warmup_steps=500, checkpoint_steps=1000),
        photographs_per_step=16,
        crops_per_photograph=8,
    ),
    simulator_training=TrainingOptions(steps=5000, images_per_step=16),
    siblings=3,
    sibling_steps=1000,
    making=Making.ONLINE,
    extractor=RESNET50,
    extractor_training=ExtractorOptions(
        loop=LoopOptions(4000, 3e-4, warmup_steps=200, checkpoint_steps=200),
        batch=BatchShape(models=32, images_per_model=4, photographs=32, single_share=0.5),
        tau=0.02,
        joint_heads=True,
    ),
    heads_training=HeadsOptions(loop=LoopOptions(300, 1e-3)),
)
"""The published sizes: 17-layer denoiser, ResNet-50 on raw log-spectra, tau 0.02, joint heads."""

PUBLISHED = Preset(
    name="published",
    residual=ResidualSource.DENOISER,
    spectrum=SpectrumSpec(pool_height=256, pool_width=129, floor=3.0),
    denoiser=PUBLISHED_DENOISER,
    denoiser_training=DenoiserOptions(loop=LoopOptions(250, 1e-3, warmup_steps=20)),
    simulator_training=TrainingOptions(steps=1000, crop_px=80),
    # A spectrum costs most of a second: few of them, seen several times, teach more than each once.
    bank=BankOptions(
        models=50, own_images=4, photographs=200, photograph_crops=1, degraded_versions=0
    ),
    degraded_share=0.0,
    extractor=RESNET50,
    extractor_training=ExtractorOptions(
        loop=LoopOptions(25, 3e-4, warmup_steps=3, checkpoint_steps=5),
        batch=BatchShape(models=12, images_per_model=4, photographs=8, single_share=0.5),
        tau=0.02,
        joint_heads=True,
    ),
)
"""The published sizes in what time the shipped fingerprint takes, for comparison.

About half an hour on one core after the simulator, whose training is that of the shipped one.
"""

PRESETS = {preset.name: preset for preset in (CPU, GPU, PUBLISHED)}
