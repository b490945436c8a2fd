from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lineup_models.fingerprint.spec import SpectrumSpec
from lineup_models.research.oneforall.batches import BatchShape, OnlineOptions, OnlineSource
from lineup_models.research.oneforall.denoiser import spectrum_module
from lineup_models.simulator.architecture import EXTENDED
from lineup_models.simulator.features import features_from_spectrum
from lineup_models.simulator.network import Simulator, SimulatorSpec

SPECTRUM = SpectrumSpec(tile_size_px=32, pool_height=8, pool_width=6, axes=4)
SHAPE = BatchShape(models=3, images_per_model=2, photographs=2, single_share=0.5)
CPU = torch.device("cpu")


@pytest.fixture
def source(photos: Path) -> OnlineSource:
    torch.manual_seed(0)
    toy = SimulatorSpec((8, 8, 16, 16), (6, 6, 6), 8)
    simulator = Simulator(EXTENDED, toy).eval().requires_grad_(False)
    features = features_from_spectrum(spectrum_module(SPECTRUM, None), device=CPU)
    options = OnlineOptions(models=1000, size_px=32)
    paths = sorted(photos.iterdir())
    return OnlineSource({"toy": simulator}, paths, features, options, seed=4, device=CPU)


def test_a_batch_is_known_by_its_seed(source: OnlineSource) -> None:
    first, again, other = (source.batch([1, step], SHAPE) for step in (5, 5, 6))
    assert first.rows.shape == (8, SPECTRUM.dimension)
    assert torch.equal(first.rows, again.rows)
    assert torch.equal(first.labels, again.labels)
    assert not torch.equal(first.rows, other.rows)
    assert first.generated.tolist() == [True] * 6 + [False] * 2


def test_every_generator_has_an_id_of_its_own(source: OnlineSource) -> None:
    ids = [source.identity(model).id for model in range(20)]
    assert ids == [source.identity(model).id for model in range(20)]
    assert len(set(ids)) == 20


def test_generators_leave_different_reconstructions(source: OnlineSource) -> None:
    crops = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), dtype=np.uint8)
    first, second = (source.reconstructions(model, crops, [0]) for model in (1, 2))
    assert first.shape == crops.shape
    assert np.abs(first.astype(int) - second).mean() > 1
