from __future__ import annotations

import numpy as np
import pytest
from simulated_ids import identity_from_id

from lineup_models.simulator.architecture import EXTENDED
from lineup_models.simulator.identity import (
    SimulatedModel,
    identity_from_seed,
    psnr_db,
)
from lineup_models.simulator.network import Simulator

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 255, (6, 64, 64, 3), dtype=np.uint8)
CALIBRATION = RANDOM.integers(0, 255, (4, 32, 32, 3), dtype=np.uint8)


def _model(simulator: Simulator, text: str) -> SimulatedModel:
    return SimulatedModel(
        {"toy": simulator}, identity_from_id(text), strength=0.1, calibration=CALIBRATION
    )


def test_reconstruction_depends_on_model_and_image_alone(toy_simulator: Simulator) -> None:
    text = "toy/3/2-ne2.cnagb.cansb-ps2.cnalb"
    together = _model(toy_simulator, text).reconstructions(PIXELS)
    assert together.shape == PIXELS.shape
    assert together.dtype == np.uint8
    alone = _model(toy_simulator, text).reconstructions(PIXELS[4:5])[0]
    assert np.array_equal(alone, together[4])


def test_weights_make_a_difference_as_architecture_does(toy_simulator: Simulator) -> None:
    texts = ("toy/3/1-ne2.cangb", "toy/4/1-ne2.cangb", "toy/3/1-ps2.cangb")
    pictures = [_model(toy_simulator, text).reconstructions(PIXELS[:1]) for text in texts]
    assert not np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])


def test_draws_are_reproducible_and_take_weight_sets_in_turn() -> None:
    drawn = [identity_from_seed(7, index, ["a", "b"], EXTENDED) for index in range(50)]
    assert drawn == [identity_from_seed(7, index, ["a", "b"], EXTENDED) for index in range(50)]
    assert [one.weights for one in drawn[:3]] == ["a", "b", "a"]
    assert len({one.id for one in drawn}) == 50
    assert all(identity_from_id(one.id) == one for one in drawn)


def test_psnr() -> None:
    flat = np.full((1, 8, 8, 3), 100, np.uint8)
    assert psnr_db(flat + np.uint8(10), flat) == pytest.approx(20 * np.log10(25.5))
