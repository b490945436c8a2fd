"""What is in the wheel: the four packages, the shipped data, and nothing else."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAX_WHEEL_MIB = 80  # 40 for the pocket lineup, 38 for galleries, the rest for all else


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_top_level_names(wheel):
    names = {Path(name).parts[0] for name in wheel.namelist()}

    assert {name for name in names if not name.endswith(".dist-info")} == {
        "lineup",
        "lineup_export",
        "lineup_lab",
        "lineup_models",
    }


@pytest.mark.parametrize(
    "name",
    [
        "lineup/py.typed",
        "lineup_models/py.typed",
        "lineup_export/py.typed",
        "lineup_lab/py.typed",
        "lineup/report/static/lineup.css",
        "lineup/report/templates/report.html.j2",
        "lineup/data/bundles/whitened-spectrum/manifest.json",
        "lineup/data/gallery.safetensors",
        "lineup/data/samples/gallery.safetensors",
    ],
)
def test_data_is_shipped(wheel, name):
    assert name in wheel.namelist()


def test_every_shipped_source_and_weight_is_there(wheel):
    shipped = ROOT / "engine" / "lineup" / "data"
    expected = {
        f"lineup/data/{path.relative_to(shipped).as_posix()}"
        for path in shipped.rglob("*")
        if path.is_file()
    }

    assert expected <= set(wheel.namelist())


def test_small_enough_for_a_board(wheel):
    assert sum(info.compress_size for info in wheel.infolist()) < MAX_WHEEL_MIB * 2**20


def test_the_runtime_depends_on_no_training_code(wheel):
    (metadata,) = [name for name in wheel.namelist() if name.endswith("/METADATA")]
    lines = wheel.read(metadata).decode().splitlines()
    required = [
        line.removeprefix("Requires-Dist: ").lower()
        for line in lines
        if line.startswith("Requires-Dist: ") and "extra ==" not in line
    ]

    assert required
    assert [line for line in required if line.startswith(("torch", "onnx>", "optimum"))] == []
