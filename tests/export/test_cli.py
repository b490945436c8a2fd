from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from lineup.bundles.bundle import open_bundle
from lineup_export.cli import export


@pytest.mark.usefixtures("exports_small_graph")
def test_a_checkpoint_becomes_a_bundle(checkpoint_folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "bundle"

    result = CliRunner().invoke(
        export, ["fingerprint", str(checkpoint_folder), "--output", str(target), "--name", "n"]
    )

    assert result.exit_code == 0, result.output
    assert "max_relative_error" in result.stdout
    assert open_bundle(target).manifest.name == "n"


def test_only_operator_sets_that_every_backend_takes_are_offered(tmp_path: Path) -> None:
    arguments = ["fingerprint", str(tmp_path), "--output", str(tmp_path / "b"), "--opset", "21"]

    result = CliRunner().invoke(export, arguments)

    assert result.exit_code == 2
    assert "18<=x<=20" in result.output
