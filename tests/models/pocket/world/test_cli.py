from __future__ import annotations

from pathlib import Path

import cv2
from click.testing import CliRunner

from lineup_models.pocket.world.__main__ import world
from lineup_models.pocket.world.scene import scene_from_seed


def test_a_sheet_shows_the_pictures_and_prints_the_captions(tmp_path: Path) -> None:
    output = tmp_path / "sheet.png"

    result = CliRunner().invoke(
        world, ["sheet", "-o", str(output), "--count", "5", "--seed", "3", "--size", "64"]
    )

    assert result.exit_code == 0
    assert cv2.imread(str(output)).shape == (2 * 68, 3 * 68, 3)
    assert result.stdout.splitlines()[0] == f"3: {scene_from_seed(3).captions()[0]}"
    assert len(result.stdout.splitlines()) == 5


def test_a_count_of_none_is_a_usage_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(world, ["sheet", "-o", str(tmp_path / "s.png"), "--count", "0"])

    assert result.exit_code == 2
