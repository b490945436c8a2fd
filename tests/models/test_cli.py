from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from lineup.errors import UsageError
from lineup_models.cli import train
from lineup_models.fingerprint.checkpoint import read_checkpoint


def test_a_folder_of_photographs_becomes_a_checkpoint(photographs: Path, tmp_path: Path) -> None:
    output = tmp_path / "checkpoint"
    arguments = ["whitening", "--photos", str(photographs), "--output", str(output)]

    result = CliRunner().invoke(
        train, [*arguments, "--hold-out", "2", "--axes", "3", "--residual", "bilateral"]
    )

    assert result.exit_code == 0, result.output
    assert "6 axes from" in result.stdout
    assert "broken.jpg" in result.stderr
    found = read_checkpoint(output)
    assert found.whitening.axes.shape[0] == 2 * 3, "of spectrum and texture"
    assert found.spec.residual == "bilateral"
    record = json.loads((output / "training.json").read_text())
    assert record["options"]["hold_out"] == 2
    assert record["photographs_held_out"] == 2
    assert {"numpy", "torch", "lineup"} <= set(record["tools"])


def test_an_existing_output_is_refused_before_the_work(photographs: Path, tmp_path: Path) -> None:
    arguments = ["whitening", "--photos", str(photographs), "--output", str(tmp_path)]

    result = CliRunner().invoke(train, arguments)

    assert isinstance(result.exception, UsageError)
    assert "exists already" in str(result.exception)


@pytest.mark.parametrize("module", ["lineup_models.cli", "lineup_export.cli"])
def test_help_loads_nothing_heavy(module: str) -> None:
    code = (
        f"import sys, {module}; "
        "print(*{'torch', 'numpy', 'onnx', 'cv2', 'onnxruntime', 'rich'} & set(sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == ""


def test_the_real_head_goes_into_a_checkpoint(tmp_path: Path) -> None:
    for folder in ("photos", "generated/a", "generated/b"):
        (tmp_path / folder).mkdir(parents=True)
        for index in range(3):
            noise = np.random.default_rng([len(folder), index]).integers(0, 256, (40, 40, 3))
            cv2.imwrite(str(tmp_path / folder / f"{index}.png"), noise.astype(np.uint8))
    photos, checkpoint = ["--photos", str(tmp_path / "photos")], tmp_path / "checkpoint"
    CliRunner().invoke(
        train, ["whitening", *photos, "--hold-out", "1", "--output", str(checkpoint)]
    )

    arguments = ["real", str(checkpoint), *photos, "--generated", str(tmp_path / "generated")]
    result = CliRunner().invoke(train, [*arguments, "--hold-out", "1"])

    assert result.exit_code == 0, result.output
    assert "8 images, 1 photographs held out" in result.stdout
    assert "without the generator, jpeg:70: AUC" in result.stdout
    assert read_checkpoint(checkpoint).real is not None
