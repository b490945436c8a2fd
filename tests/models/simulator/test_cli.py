from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
from click.testing import CliRunner

from lineup.errors import UsageError
from lineup_models.simulator.bank_reader import read_bank
from lineup_models.simulator.cli import simulator
from lineup_models.simulator.network import Simulator, TrainedSimulator, write_simulator


def _large_photos(folder: Path) -> Path:
    random = np.random.default_rng(0)
    folder.mkdir()
    for index in range(5):
        noise = random.integers(0, 255, (20, 20, 3), dtype=np.uint8)
        assert cv2.imwrite(str(folder / f"{index}.png"), cv2.resize(noise, (272, 264)))
    return folder


def test_train_sheet_bank(toy_simulator: Simulator, tmp_path: Path) -> None:
    photos = str(_large_photos(tmp_path / "photos"))
    weights = tmp_path / "toy" / "simulator.safetensors"
    write_simulator(TrainedSimulator(toy_simulator), weights)
    common = ["--photos", photos, "--weights", str(weights)]
    runner = CliRunner()

    trained = runner.invoke(
        simulator,
        [
            *["train", "--photos", photos, "--output", str(tmp_path / "run"), "--steps", "1"],
            *["--crop", "32", "--hold-out", "1"],
        ],
    )
    assert trained.exit_code == 0, trained.output
    assert "1 steps" in trained.output
    assert (tmp_path / "run" / "simulator.safetensors").exists()

    options = ["--hold-out", "1", "--models", "1", "--shared-images", "1"]
    picture = tmp_path / "sheet.png"
    drawn = runner.invoke(simulator, ["sheet", *common, *options, "--output", str(picture)])
    assert drawn.exit_code == 0, drawn.output
    assert cv2.imread(str(picture)).shape == (2 * 260, 2 * 260, 3)

    bank = tmp_path / "bank"
    filled = runner.invoke(
        simulator, ["bank", *common, *options, "--own-images", "1", "--output", str(bank)]
    )
    assert filled.exit_code == 0, filled.output
    assert read_bank(bank, "spectrum").clean.shape == (4 * 2 + 2, 96 * 48)


def test_weights_of_the_same_name_are_refused(toy_simulator: Simulator, tmp_path: Path) -> None:
    command = ["sheet", "--photos", str(tmp_path), "--output", str(tmp_path / "sheet.png")]
    for parent in ("a", "b"):
        path = tmp_path / parent / "toy" / "simulator.safetensors"
        write_simulator(TrainedSimulator(toy_simulator), path)
        command += ["--weights", str(path)]
    refused = CliRunner().invoke(simulator, command)
    assert isinstance(refused.exception, UsageError)
    assert "same name" in str(refused.exception)


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; from lineup_models.simulator import cli; "
        "assert not {'torch', 'cv2', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
