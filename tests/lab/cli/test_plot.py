from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from lineup.errors import MissingExtraError, UsageError
from lineup_lab.cli.plot import plot

pytest.importorskip("matplotlib", reason="figures are drawn with matplotlib")


pytestmark = pytest.mark.usefixtures("opened")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("one", "two", "photos"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(3):
            image = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / "images" / name / f"{i}.png"), image)
    return tmp_path / "images"


def drawn(*arguments: object) -> Result:
    return CliRunner().invoke(plot, list(map(str, arguments)))


@pytest.mark.parametrize("options", [[], ["--real", "photos"], ["--limit", 2, "--smoothing", 0]])
def test_spectra_are_drawn_without_a_model(root, tmp_path, opened, options):
    result = drawn("spectra", root, "-o", tmp_path / "s.png", *options)

    assert result.exit_code == 0, result.output
    assert result.stdout == f"{tmp_path / 's.png'}\n"
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
    assert opened == []


@pytest.mark.parametrize("projection", ["pca", "lda"])
def test_map_is_drawn_of_the_fingerprints(root, tmp_path, opened, projection):
    result = drawn(
        "map", root, "-o", tmp_path / "m.png", "--projection", projection, "--real", "photos",
        "--fingerprint", "mine",
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")
    assert [call["bundle"] for call in opened] == ["mine"]


@pytest.mark.parametrize("figure", ["spectra", "map"])
def test_unreadable_image_is_reported_and_the_rest_drawn(root, tmp_path, figure):
    (root / "one" / "broken.png").write_bytes(b"")

    result = drawn(figure, root, "-o", tmp_path / "f.png")

    assert result.exit_code == 1
    assert "broken.png" in result.stderr
    assert (tmp_path / "f.png").exists()


@pytest.mark.parametrize("figure", ["spectra", "map"])
def test_mistakes_show_before_any_work(root, tmp_path, opened, figure, monkeypatch):
    unknown = drawn(figure, root, "-o", tmp_path / "f.png", "--real", "violet")
    absent = drawn(figure, tmp_path / "absent", "-o", tmp_path / "f.png")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    bare = drawn(figure, root, "-o", tmp_path / "f.png")

    assert isinstance(unknown.exception, UsageError)
    assert isinstance(absent.exception, UsageError)
    assert isinstance(bare.exception, MissingExtraError)
    assert opened == []
    assert not (tmp_path / "f.png").exists()


@pytest.mark.parametrize("figure", ["spectra", "map"])
def test_a_figure_never_replaces_an_image(root, tmp_path, figure):
    evidence = root / "one" / "0.png"
    before = evidence.read_bytes()
    (tmp_path / "link.png").symlink_to(evidence)

    for output in (evidence, tmp_path / "link.png"):
        result = drawn(figure, root, "-o", output)
        assert isinstance(result.exception, UsageError)
        assert "is an input as well" in result.exception.message
    assert evidence.read_bytes() == before


def test_photographs_alone_leave_no_spectrum(root, tmp_path):
    result = drawn(
        "spectra", root, "-o", tmp_path / "f.png",
        "--real", "photos", "--real", "one", "--real", "two",
    )  # fmt: skip

    assert isinstance(result.exception, UsageError)
    assert "no spectrum is left" in result.exception.message


def test_help_loads_nothing_slow():
    program = (
        "import sys\n"
        "from lineup_lab.cli.plot import plot\n"
        "plot(['map', '--help'], standalone_mode=False)\n"
        "heavy = {'numpy', 'cv2', 'onnxruntime', 'rich', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)\n"
    )

    child = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )

    assert child.returncode == 0, child.stderr
