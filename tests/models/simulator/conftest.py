from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lineup_models.simulator.architecture import EXTENDED
from lineup_models.simulator.network import Simulator, SimulatorSpec

TOY_SPEC = SimulatorSpec(widths=(8, 8, 16, 16), latent_channels=(6, 6, 6), style=8)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Toy networks are slower on several threads, and sums come out the same on one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def toy_simulator() -> Simulator:
    torch.manual_seed(0)
    return Simulator(EXTENDED, TOY_SPEC).eval().requires_grad_(False)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six smooth pictures of 96x112 px that stand in for photographs."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for index in range(6):
        noise = random.integers(0, 255, (12, 14, 3), dtype=np.uint8)
        picture = cv2.resize(noise, (112, 96), interpolation=cv2.INTER_CUBIC)
        assert cv2.imwrite(str(folder / f"picture-{index}.png"), picture)
    return folder
