from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lineup_models.fingerprint.covariance import FoundAxes, PrincipalAxes
from lineup_models.fingerprint.spec import SpectrumSpec
from lineup_models.research.oneforall.batches import BatchShape, OnlineOptions
from lineup_models.research.oneforall.denoiser import DenoiserOptions, DenoiserSpec
from lineup_models.research.oneforall.extractor import ExtractorSpec
from lineup_models.research.oneforall.extractor_training import ExtractorOptions, HeadsOptions
from lineup_models.research.oneforall.presets import Preset
from lineup_models.simulator import training as simulator_training
from lineup_models.simulator.bank import BankOptions
from lineup_models.simulator.bank_reader import Bank
from lineup_models.simulator.network import SimulatorSpec
from lineup_models.simulator.training import TrainingOptions
from lineup_models.training import LoopOptions

SPECTRUM = SpectrumSpec(tile_size_px=32, pool_height=8, pool_width=6, axes=4)
SHAPE = BatchShape(models=3, images_per_model=2, photographs=2, single_share=0.5)
LOOP = LoopOptions(steps=4, learning_rate=1e-3, warmup_steps=1, checkpoint_steps=2)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Toy networks are slower on several threads, and sums come out the same on one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def toy_simulators(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let simulators that are trained be tiny."""
    spec = SimulatorSpec((8, 8, 16, 16), (6, 6, 6), 8)
    monkeypatch.setattr(simulator_training, "SimulatorSpec", lambda: spec)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen grainy pictures of 136x144 px that stand in for photographs."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for index in range(14):
        coarse = random.integers(0, 255, (17, 18, 3), dtype=np.uint8)
        picture = cv2.resize(coarse, (144, 136), interpolation=cv2.INTER_CUBIC)
        grain = random.normal(0.0, 1.0 + index / 4, picture.shape)
        picture = np.clip(picture + grain, 0, 255).astype(np.uint8)
        assert cv2.imwrite(str(folder / f"picture-{index}.png"), picture)
    return folder


@pytest.fixture
def preset() -> Preset:
    return Preset(
        name="toy",
        hold_out=2,
        spectrum=SPECTRUM,
        denoiser=DenoiserSpec(depth=3, width=4),
        denoiser_training=DenoiserOptions(
            loop=LOOP, crop_px=16, photographs_per_step=2, crops_per_photograph=2
        ),
        simulator_training=TrainingOptions(
            steps=2, crop_px=32, images_per_step=2, architectures_per_step=2, checkpoint_steps=1
        ),
        siblings=1,
        sibling_steps=1,
        bank=BankOptions(
            models=4,
            own_images=2,
            shared_images=2,
            size_px=32,
            models_per_shard=2,
            photograph_crops=1,
        ),
        online=OnlineOptions(models=6, size_px=32),
        extractor=ExtractorSpec(width=4, blocks=(1,)),
        extractor_training=ExtractorOptions(loop=LOOP, batch=SHAPE, memory=8),
        heads_training=HeadsOptions(loop=LOOP, batch=SHAPE),
    )


@pytest.fixture
def whitening() -> FoundAxes:
    principal = PrincipalAxes(SPECTRUM.dimension)
    for row in np.random.default_rng(1).gamma(2.0, size=(20, SPECTRUM.dimension)):
        principal.add(row)
    return principal.found(axes=4, floor=3.0)


@pytest.fixture
def bank() -> Bank:
    """Five generators with four images each, two of them shared, and six photographs."""
    random = np.random.default_rng(2)
    model = np.concatenate([np.repeat(np.arange(5), 4), np.full(6, -1)]).astype(np.int32)
    marks = np.concatenate([random.normal(0, 0.7, (5, SPECTRUM.dimension)), np.zeros((1, 48))])
    clean = (3 + marks[model] + random.normal(0, 0.5, (26, 48))).astype(np.float16)
    return Bank(
        header={},
        model_ids={number: f"generator {number}" for number in range(5)},
        model=model,
        photograph=np.arange(26, dtype=np.int32),
        crop=np.zeros(26, np.int32),
        shared=np.tile([True, True, False, False], 7)[:26] & (model >= 0),
        psnr_db=np.zeros(26, np.float32),
        clean=clean,
        degraded=(clean + 100)[:, None],
        degradations=np.zeros((26, 1, 5), np.float32),
    )
