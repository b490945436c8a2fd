from __future__ import annotations

import pytest
import torch
from simulated_ids import architecture_from_id

from lineup_models.simulator.architecture import (
    EXTENDED,
    PUBLISHED,
    SPACES,
    architecture_from_seed,
)
from lineup_models.simulator.cells import Statistics
from lineup_models.simulator.network import Simulator, SimulatorSpec


@pytest.mark.parametrize("seed", range(40))
def test_every_architecture_runs(toy_simulator: Simulator, seed: int) -> None:
    architecture = architecture_from_seed([1, seed], EXTENDED)
    reconstruction = toy_simulator(torch.rand(2, 3, 64, 64), architecture)
    assert reconstruction.shape == (2, 3, 64, 64)
    assert torch.isfinite(reconstruction).all()
    assert reconstruction.abs().max() < 50


@pytest.mark.parametrize("size", [(8, 8), (40, 72)])
def test_any_size_that_can_be_halved_three_times(
    toy_simulator: Simulator, size: tuple[int, int]
) -> None:
    architecture = architecture_from_id("3-bl2.cangg-tc4.ancsg")
    assert toy_simulator(torch.rand(1, 3, *size), architecture).shape == (1, 3, *size)


def test_same_path_same_picture_other_path_other_picture(toy_simulator: Simulator) -> None:
    images = torch.rand(2, 3, 32, 32)
    first, second = (architecture_from_id(text) for text in ("1-ne2.cangb", "1-ne2.cansb"))
    assert torch.equal(toy_simulator(images, first), toy_simulator(images, first))
    assert not torch.allclose(toy_simulator(images, first), toy_simulator(images, second))


def test_gradient_reaches_what_the_path_uses_and_nothing_else() -> None:
    torch.manual_seed(0)
    simulator = Simulator(EXTENDED, SimulatorSpec((8, 8, 16, 16), (6, 6, 6), 8))
    simulator(torch.rand(2, 3, 32, 32), architecture_from_id("1-ps2.cangi")).sum().backward()
    used = {name for name, value in simulator.named_parameters() if value.grad is not None}
    assert {"cells.0.convolution.kernels", "upsamplers.1x2.phases.weight"} <= used
    assert not any(name.startswith(("cells.1.", "cells.2.", "stems.1.")) for name in used)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_size_of_the_network(space: object) -> None:
    simulator = Simulator(EXTENDED if space is EXTENDED else PUBLISHED)
    assert 1e6 < sum(value.numel() for value in simulator.parameters()) < 3e6


def test_images_do_not_share_statistics_once_these_are_fixed(toy_simulator: Simulator) -> None:
    architecture = architecture_from_id("2-ne2.ncagb.cansb-bl2.cnalb")
    statistics: Statistics = {}
    images = torch.rand(4, 3, 32, 32)
    together = toy_simulator(images, architecture, statistics)
    assert set(statistics) == {"1.0", "1.1", "0.0"}
    assert torch.allclose(toy_simulator(images, architecture, statistics), together, atol=1e-5)
    alone = toy_simulator(images[:1], architecture, statistics)
    assert torch.allclose(alone, together[:1], atol=1e-5)
    assert not torch.allclose(toy_simulator(images[:1], architecture), together[:1], atol=1e-3)


def test_colour_survives_a_final_instance_norm(toy_simulator: Simulator) -> None:
    architecture = architecture_from_id("1-bl2.canli")
    grey = torch.rand(1, 3, 32, 32) * 0.2
    dark, bright = toy_simulator(grey, architecture), toy_simulator(grey + 0.7, architecture)
    assert (dark.mean() - bright.mean()).abs() > 1e-3
