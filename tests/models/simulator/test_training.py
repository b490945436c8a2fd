from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lineup.errors import BundleFormatError, UsageError
from lineup_models.simulator import training
from lineup_models.simulator.network import SimulatorSpec, read_simulator
from lineup_models.simulator.training import (
    WEIGHTS_NAME,
    TrainingOptions,
    train_simulator,
)
from lineup_models.training import losses_path

OPTIONS = TrainingOptions(
    steps=6, hold_out=2, crop_px=32, images_per_step=4, warmup_steps=2, checkpoint_steps=2
)


@pytest.fixture(autouse=True)
def small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = SimulatorSpec((8, 8, 16, 16), (6, 6, 6), 8)
    monkeypatch.setattr(training, "SimulatorSpec", lambda: spec)


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return read_simulator(folder / WEIGHTS_NAME).simulator.state_dict()


def test_loss_falls(photos: Path, tmp_path: Path) -> None:
    options = replace(OPTIONS, steps=30, checkpoint_steps=30)
    train_simulator(photos, options, tmp_path)
    losses = [row["total"] for row in json.loads(losses_path(tmp_path, tmp_path.name).read_text())]
    assert len(losses) == 30
    assert np.mean(losses[-6:]) < 0.7 * np.mean(losses[:6])


def test_a_resumed_run_equals_an_uninterrupted_one(photos: Path, tmp_path: Path) -> None:
    train_simulator(photos, OPTIONS, tmp_path / "whole")

    def stop_after_three(_name: str, steps: range) -> range:
        return steps[:3]

    train_simulator(photos, OPTIONS, tmp_path / "parts", watch=stop_after_three)
    # Step 3 came after the last checkpoint and is done again.
    resumed: list[int] = []

    def note(_name: str, steps: range) -> range:
        resumed.extend(steps)
        return steps

    train_simulator(photos, OPTIONS, tmp_path / "parts", watch=note)
    assert resumed == [2, 3, 4, 5]
    whole, parts = _weights(tmp_path / "whole"), _weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    losses = [losses_path(tmp_path / name, name).read_text() for name in ("whole", "parts")]
    assert losses[0] == losses[1]


def test_another_seed_gives_other_weights(photos: Path, tmp_path: Path) -> None:
    options = replace(OPTIONS, steps=1)
    train_simulator(photos, options, tmp_path / "first")
    train_simulator(photos, replace(options, seed=1), tmp_path / "second")
    first, second = _weights(tmp_path / "first"), _weights(tmp_path / "second")
    assert not torch.equal(first["to_rgb.weight"], second["to_rgb.weight"])


def test_training_leaves_the_callers_random_state_alone(photos: Path, tmp_path: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    train_simulator(photos, replace(OPTIONS, steps=1), tmp_path)
    assert torch.equal(torch.rand(1), expected)


def test_a_sibling_starts_from_given_weights(photos: Path, tmp_path: Path) -> None:
    train_simulator(photos, OPTIONS, tmp_path / "base")
    initial = str(tmp_path / "base" / WEIGHTS_NAME)
    options = replace(OPTIONS, steps=1, initial=initial, learning_rate=1e-9)
    train_simulator(photos, options, tmp_path / "same")
    train_simulator(photos, replace(options, perturbation=0.5), tmp_path / "moved")
    base, same, moved = (_weights(tmp_path / name) for name in ("base", "same", "moved"))
    assert torch.allclose(base["to_rgb.weight"], same["to_rgb.weight"], atol=1e-6)
    assert not torch.allclose(base["to_rgb.weight"], moved["to_rgb.weight"], atol=1e-3)


def test_record_tells_how_the_weights_came_about(photos: Path, tmp_path: Path) -> None:
    record = train_simulator(photos, replace(OPTIONS, steps=1), tmp_path).record
    assert record["photographs"] == 4
    assert record["photographs_held_out"] == 2
    assert record["options"]["steps"] == 1
    assert read_simulator(tmp_path / WEIGHTS_NAME).record == record


def test_a_checkpoint_of_other_options_is_refused(photos: Path, tmp_path: Path) -> None:
    train_simulator(photos, OPTIONS, tmp_path)
    assert (tmp_path / f"{tmp_path.name}.checkpoint.pt").exists()
    with pytest.raises(UsageError, match="other settings"):
        train_simulator(photos, replace(OPTIONS, seed=1), tmp_path)


def test_a_file_that_is_no_checkpoint(photos: Path, tmp_path: Path) -> None:
    (tmp_path / f"{tmp_path.name}.checkpoint.pt").write_bytes(b"something else")
    with pytest.raises(BundleFormatError, match="not the checkpoint"):
        train_simulator(photos, OPTIONS, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"space": "no such"}, "no search space"),
        ({"crop_px": 36}, "halved three times"),
        ({"images_per_step": 6}, "shared evenly"),
        ({"crop_px": 128}, "no crop of 128 px"),
    ],
)
def test_options_that_cannot_work(
    photos: Path, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        train_simulator(photos, replace(OPTIONS, **change), tmp_path)
