from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lineup.errors import BundleFormatError, BundleNotFoundError
from lineup_models.simulator.network import (
    Simulator,
    TrainedSimulator,
    perturbed_simulator,
    read_simulator,
    write_simulator,
)


def test_what_is_written_is_read(toy_simulator: Simulator, tmp_path: Path) -> None:
    path = tmp_path / "simulator.safetensors"
    write_simulator(TrainedSimulator(toy_simulator, {"seed": 3}), path)
    read = read_simulator(path)
    assert read.record == {"seed": 3}
    assert read.simulator.space == toy_simulator.space
    assert read.simulator.spec == toy_simulator.spec
    expected = toy_simulator.state_dict()
    assert all(torch.equal(expected[k], v) for k, v in read.simulator.state_dict().items())


def test_reading_leaves_the_callers_random_state_alone(
    toy_simulator: Simulator, tmp_path: Path
) -> None:
    path = tmp_path / "simulator.safetensors"
    write_simulator(TrainedSimulator(toy_simulator), path)
    state = torch.get_rng_state()
    perturbed_simulator(read_simulator(path).simulator, seed=1, strength=0.1)
    assert torch.equal(torch.get_rng_state(), state)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BundleNotFoundError, match="not a file"):
        read_simulator(tmp_path / "none")


def test_other_content(tmp_path: Path) -> None:
    path = tmp_path / "simulator.safetensors"
    path.write_bytes(b"not safetensors at all")
    with pytest.raises(BundleFormatError, match="does not hold"):
        read_simulator(path)


def test_perturbation_moves_the_decoder_only(toy_simulator: Simulator) -> None:
    before = {name: value.clone() for name, value in toy_simulator.state_dict().items()}
    moved = perturbed_simulator(toy_simulator, seed=5, strength=0.1).state_dict()
    assert torch.equal(moved["encoder.trunk.0.0.weight"], before["encoder.trunk.0.0.weight"])
    kernels = "cells.0.convolution.kernels"
    relative = (moved[kernels] - before[kernels]).std() / before[kernels].std()
    assert relative == pytest.approx(0.1, rel=0.1)
    assert torch.equal(toy_simulator.state_dict()[kernels], before[kernels])
    again = perturbed_simulator(toy_simulator, seed=5, strength=0.1).state_dict()
    other = perturbed_simulator(toy_simulator, seed=6, strength=0.1).state_dict()
    assert torch.equal(moved[kernels], again[kernels])
    assert not torch.equal(moved[kernels], other[kernels])
