from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from lineup.classifier import read_classifier
from lineup.errors import ClassifierError, GalleryError, UsageError
from lineup.gallery.tensors import write_gallery
from lineup.paths import shipped_dir
from lineup_lab.cli.eval import evaluate
from lineup_lab.cli.fit_open_set import fit_open_set

COLOURS = {"red": (5, 5, 200), "green": (5, 200, 5), "blue": (200, 5, 5), "grey": (120, 120, 120)}


pytestmark = pytest.mark.usefixtures("opened")


def write_images(folder: Path, colour: tuple[int, int, int], count: int) -> None:
    folder.mkdir(parents=True)
    for i in range(count):
        cv2.imwrite(str(folder / f"{i}.png"), np.full((8, 8, 3), colour, np.uint8) + np.uint8(i))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, colour in COLOURS.items():
        write_images(tmp_path / "images" / name, colour, 6)
    return tmp_path / "images"


def evaluated(*arguments: object) -> Result:
    return CliRunner().invoke(evaluate, [*map(str, arguments), "--bootstrap", "100"])


def fitted(*arguments: object) -> Result:
    return CliRunner().invoke(fit_open_set, list(map(str, arguments)))


def test_closed_set_prints_and_writes(root, tmp_path):
    result = evaluated("closed-set", root, "--real", "grey", "-o", tmp_path / "f.json")

    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "f.json").read_text())
    assert (figures["protocol"], figures["accuracy"], figures["oscr"]) == ("closed-set", 100, None)
    assert figures["confusion"]["grey"] == {"blue": 0, "green": 0, "real": 3, "red": 0}
    assert figures["n"] == 12
    assert "Closed set" in result.stdout


@pytest.mark.parametrize("classifier", ["logistic", "calibrated"])
def test_open_set_with_named_unknowns(root, tmp_path, classifier):
    result = evaluated(
        "open-set", root, "--unknown", "blue, green", "--classifier", classifier,
        "-o", tmp_path / "f.json",
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["unknown"] == ["blue", "green"]
    assert figures["classifier"] == {"name": classifier, "reject": 0}
    assert figures["oscr"] <= figures["auroc_unknown"]
    assert set(figures["confusion"]["red"]) == {"grey", "red"}


def test_open_set_with_a_reject_class_leaves_each_out(root, tmp_path):
    write_images(tmp_path / "reject", (200, 200, 5), 5)

    result = evaluated(
        "open-set", root, "--leave-one-out", "--real", "grey", "--reject", tmp_path / "reject",
        "-o", tmp_path / "f.json",
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "f.json").read_text())
    assert list(figures["rounds"]) == figures["unknown"] == ["blue", "green", "red"]
    assert figures["classifier"]["reject"] == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["open-set"], "either --unknown or --leave-one-out"),
        (["open-set", "--unknown", "red", "--leave-one-out"], "either --unknown or"),
        (["open-set", "--unknown", "violet"], "'violet' is not among the sources"),
        (["open-set", "--unknown", "red,green,blue"], "1 known class"),
        (["closed-set", "--real", "violet"], "'violet' is not among the sources"),
        (["closed-set", "--support", "6"], "leaves no query"),
        (["closed-set", "--reject", "absent"], "absent does not exist"),
        (["closed-set", "--reject", ".", "--classifier", "calibrated"], "no use with"),
    ],
)
def test_mistakes_show_before_the_model_is_loaded(root, opened, arguments, message):
    result = evaluated(arguments[0], root, *arguments[1:])

    assert isinstance(result.exception, UsageError)
    assert message in result.exception.message
    assert opened == []


def test_unreadable_image_gives_exit_code_1(root):
    (root / "red" / "broken.png").write_bytes(b"")

    assert evaluated("closed-set", root).exit_code == 1


def test_folders_are_fitted_with_photographs_as_real(root, tmp_path):
    write_images(tmp_path / "reject", (200, 200, 5), 5)
    made = tmp_path / "c.safetensors"

    result = fitted(
        root, "--real", "grey", "--reject", tmp_path / "reject", "-o", made, "--provenance", "mine"
    )

    assert result.exit_code == 0, result.output
    classifier = read_classifier(made)
    classifier.check_fingerprint("colour")
    assert classifier.classes == ("blue", "green", "real", "red")
    assert classifier.has_reject
    assert classifier.training.counts["real"] == 6
    assert classifier.training.provenance == "mine"
    assert f"{made}: 4 classes" in result.stdout
    assert "24 fingerprints, 5 to reject" in result.stdout


def test_gallery_is_fitted_without_loading_a_model(colour_gallery, tmp_path, opened):
    write_gallery(tmp_path / "g.safetensors", colour_gallery)
    made = tmp_path / "c.safetensors"

    result = fitted(
        "--gallery", tmp_path / "g.safetensors", "--reject", tmp_path / "g.safetensors", "-o", made
    )

    assert result.exit_code == 0, result.output
    assert opened == []
    classifier = read_classifier(made)
    assert classifier.classes == ("blues", "reds", "real")
    assert classifier.fingerprint_digest == "colour"
    assert classifier.training.reject_count == 36


def test_the_shipped_gallery_is_fitted_with_what_ships_to_reject(tmp_path, opened):
    gallery = shipped_dir() / "gallery.safetensors"
    wary, plain = tmp_path / "wary.safetensors", tmp_path / "plain.safetensors"
    assert fitted("--gallery", gallery, "-o", wary).exit_code == 0
    assert fitted("--gallery", gallery, "--reject", "none", "-o", plain).exit_code == 0

    assert read_classifier(wary).training.reject_count == 100
    assert not read_classifier(plain).has_reject
    assert opened == []


def test_what_ships_to_reject_is_left_out_with_another_bundle(root, tmp_path):
    result = fitted(root, "-o", tmp_path / "c.safetensors")

    assert result.exit_code == 0
    assert "of another bundle: left out" in result.stderr
    assert not read_classifier(tmp_path / "c.safetensors").has_reject


def test_unreadable_reject_image_gives_exit_code_1_and_a_classifier(root, tmp_path):
    write_images(tmp_path / "reject", (200, 200, 5), 5)
    (tmp_path / "reject" / "broken.png").write_bytes(b"")

    result = fitted(root, "--reject", tmp_path / "reject", "-o", tmp_path / "c.safetensors")

    assert result.exit_code == 1
    assert "broken.png" in result.stderr
    assert read_classifier(tmp_path / "c.safetensors").training.reject_count == 5


def test_mistakes_of_a_fit_are_errors_of_the_tree(root, tmp_path, colour_gallery):
    made = tmp_path / "c.safetensors"
    write_gallery(tmp_path / "g.safetensors", colour_gallery)
    (tmp_path / "empty").mkdir()
    cases = [
        ([root, "--gallery", tmp_path / "g.safetensors"], UsageError, "both given"),
        (["--real", "grey"], UsageError, "by their role"),
        ([root, "--reject", tmp_path / "absent"], UsageError, "does not exist"),
        ([root, "--reject", tmp_path / "empty"], ClassifierError, "no fingerprint or readable"),
        ([root, "--real", "violet"], UsageError, "not among the sources"),
        (["--gallery", tmp_path / "absent"], GalleryError, ""),
    ]
    for arguments, kind, message in cases:
        result = fitted(*arguments, "-o", made)
        assert isinstance(result.exception, kind), arguments
        assert message in result.exception.message
    assert not made.exists()
