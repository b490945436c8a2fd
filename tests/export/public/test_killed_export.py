"""An export that is killed half-way: no half bundle, and the next one cleans up."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from lineup.bundles.bundle import open_bundle
from lineup_export.cli import export

pytestmark = pytest.mark.slow

PATIENCE_S = 240.0


def wait_for_graph(folder: Path, child: subprocess.Popen[bytes]) -> None:
    """Return when the first graph is staged in `folder`."""
    deadline = time.monotonic() + PATIENCE_S
    while not list(folder.glob(".bundle.*/new/*.onnx")):
        assert child.poll() is None, "the export ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_killed_export_leaves_no_half_bundle_and_the_next_cleans_up(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    arguments = ["encoder", "clip-vit-b-32", "--weights", "random", "--tiny"]
    arguments += ["--output", str(target)]
    command = [sys.executable, "-m", "lineup", "export", *arguments]

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        wait_for_graph(tmp_path, child)
        child.kill()
        assert child.wait(30) == -signal.SIGKILL

    assert not target.exists()
    assert list(tmp_path.glob(".bundle.*/new/*.onnx")), "nothing was staged when it was killed"

    result = CliRunner().invoke(export, arguments)

    assert result.exit_code == 0, result.output
    assert list(open_bundle(target).manifest.graphs) == ["image_tower_cut", "image_tower"]
    assert [child.name for child in tmp_path.iterdir()] == ["bundle"]
