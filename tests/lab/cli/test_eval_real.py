"""`lineup eval real`, on a toy that takes bright images for photographs."""

import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from lineup.errors import UsageError
from lineup_lab.cli.eval import evaluate


@pytest.fixture
def folder(tmp_path):
    levels = {"photographs": (250, 200, 140), "dark": (10, 15, 30), "mixed": (150, 160, 20)}
    for name, values in levels.items():
        (tmp_path / "set" / name).mkdir(parents=True)
        for value in values:
            image = np.full((64, 64, 3), value, np.uint8)
            cv2.imwrite(str(tmp_path / "set" / name / f"{value}.png"), image)
    return tmp_path / "set"


def run(*arguments):
    return CliRunner().invoke(evaluate, ["real", *map(str, arguments)])


def test_table_and_document(folder, opened, tmp_path):
    target = tmp_path / "figures.json"
    result = run(folder, "--real", "photographs", "--attack", "jpeg:90", "-o", target)
    document = json.loads(target.read_text())

    assert result.exit_code == 0, result.output
    assert "false alarms" in result.output
    assert "jpeg:90" in result.output
    assert document["sources"]["dark"] == {"auc": 100, "called_real": 0, "images": 3}
    assert document["sources"]["mixed"]["auc"] == pytest.approx(100 * 7 / 9)
    assert document["auc_mean"] == pytest.approx((100 + 100 * 7 / 9) / 2)
    assert document["photographs"] == {"called_generated": 0, "images": 3}
    assert document["attacks"]["jpeg:90"]["auc_mean"] == pytest.approx(document["auc_mean"])
    assert document["n"] == 9


def test_an_unreadable_image_is_told_by_the_exit_code(folder, opened):
    (folder / "dark" / "broken.png").write_bytes(b"nothing")
    result = run(folder, "--real", "photographs")

    assert result.exit_code == 1
    assert "broken.png" in result.stderr


def test_a_wrong_name_is_a_usage_error(folder, opened):
    result = run(folder, "--real", "photos")

    assert isinstance(result.exception, UsageError)
    assert "'photos'" in result.exception.message
    assert not opened  # before any model was loaded
