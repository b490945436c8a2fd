from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from lineup.errors import MissingExtraError, UsageError
from lineup_lab.cli.eval import evaluate


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    colours = {"red": (5, 5, 200), "green": (5, 200, 5), "grey": (120, 120, 120)}
    for name, colour in colours.items():
        (root / name).mkdir(parents=True)
        for i in range(6):
            pixels = np.full((8, 8, 3), colour, np.uint8) + np.uint8(i)
            cv2.imwrite(str(root / name / f"{i}.png"), pixels)
    return root


def verify(*arguments: object) -> Result:
    return CliRunner().invoke(evaluate, ["verification", *map(str, arguments)])


def test_table_on_stdout_and_figures_in_the_file(root, opened, tmp_path):
    result = verify(root, "-o", tmp_path / "f.json", "--real", "grey", "--bootstrap", 100)

    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["sources"]["red"] == {"auc_mean": 100.0, "auc_sd": 0.0, "auc_min": 100.0}
    assert list(figures["sources"]) == ["green", "red"]
    assert (figures["n"], figures["seed"], figures["fingerprint"]) == (9, 0, "colour")
    assert figures["seconds"] > 0
    assert "100.0" in result.stdout
    assert "grey" in result.stdout
    assert result.stderr == ""


def test_options_reach_the_model_and_the_protocol(root, opened, tmp_path):
    result = verify(
        root, "-o", tmp_path / "f.json", "--support", 4, "--seed", 7, "--bootstrap", 100,
        "--fingerprint", "mine", "--device", "cpu", "--threads", 3, "--batch", 2,
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "f.json").read_text())
    assert (figures["support"], figures["seed"], figures["bootstrap"]) == (4, 7, 100)
    assert figures["images"]["red"]["support"] == 4
    assert opened == [{"bundle": "mine", "device": "cpu", "threads": 3}]


def test_unreadable_image_is_reported_and_the_rest_evaluated(root, opened, tmp_path):
    (root / "red" / "broken.png").write_bytes(b"")

    result = verify(root, "-o", tmp_path / "f.json")

    assert result.exit_code == 1
    assert "broken.png" in result.stderr
    assert "red" in result.stdout
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["failed"] == figures["images"]["red"]["failed"] == 1


def test_dropped_images_are_reported(root, opened):
    (root / "red" / "copy.png").write_bytes((root / "red" / "0.png").read_bytes())
    (root / "grey" / "stray.png").write_bytes((root / "green" / "0.png").read_bytes())

    result = verify(root)

    assert result.exit_code == 0
    assert "red: 1 duplicate file(s) dropped" in result.stderr
    assert "green: 1 image(s) dropped" in result.stderr
    assert "grey: 1 image(s) dropped" in result.stderr


def test_attacks_have_a_table_and_figures_of_their_own(root, opened, tmp_path):
    result = verify(
        root, "-o", tmp_path / "f.json", "--bootstrap", 100,
        "--attack", "jpeg:90", "--attack", "crop:0.8", "--rule", "knn",
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "f.json").read_text())
    assert list(figures["attacks"]) == ["jpeg:90", "crop:0.8"]
    assert figures["attacks"]["crop:0.8"]["auc_mean"] == figures["auc_mean"] == 100.0
    assert figures["rule"] == "knn"
    assert len(opened) == 1
    assert "jpeg:90" in result.stdout
    assert "clean" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--attack", "jpg:90"], "'jpg:90' is no operation"),
        (["--attack", "crop:2"], "no such share"),
        (["--real", "photos"], "'photos' is not among the sources"),
        (["--support", "1.5"], "neither a share nor a count"),
        (["--support", "6"], "leaves no query"),
        (["--real", "red", "--real", "green", "--real", "grey"], "no target"),
    ],
)
def test_mistakes_in_the_options_show_before_the_model_is_loaded(root, opened, arguments, message):
    result = verify(root, *arguments)

    assert isinstance(result.exception, UsageError)
    assert message in result.exception.message
    assert opened == []


def test_with_json_standard_output_is_the_document(root, opened, tmp_path):
    result = verify(root, "--json", "-o", tmp_path / "f.json", "--bootstrap", 100)

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == json.loads((tmp_path / "f.json").read_text())


def test_without_the_extra_the_command_says_how_to_get_it(root, opened, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    result = verify(root)

    assert isinstance(result.exception, MissingExtraError)
    assert result.exception.hint == "Install it with: pip install 'lineup-forensics[eval]'"


def test_json_that_cannot_be_written_leaves_the_table_and_says_what_to_do(root, opened, tmp_path):
    (tmp_path / "file").write_text("")

    result = verify(root, "-o", tmp_path / "file" / "f.json")

    assert isinstance(result.exception, UsageError)
    assert "Cannot write" in result.exception.message
    assert "red" in result.stdout


def test_help_loads_no_numpy():
    program = (
        "import sys\n"
        "from lineup_lab.cli.eval import evaluate\n"
        "evaluate(['verification', '--help'], standalone_mode=False)\n"
        "heavy = {'numpy', 'cv2', 'onnxruntime', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)\n"
    )

    child = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )

    assert child.returncode == 0, child.stderr
    assert "--support" in child.stdout
