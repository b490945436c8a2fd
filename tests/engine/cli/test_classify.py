import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from toy_engine import ColourExtractor

from lineup.classifier import OpenSetClassifier, Training, write_classifier
from lineup.cli.classify import classify
from lineup.errors import ClassifierError, UsageError

COLOURS = {"blue": (200, 5, 5), "green": (5, 200, 5), "red": (5, 5, 200)}  # as OpenCV orders them


@pytest.fixture
def write_head(tmp_path):
    """Write a classifier of colours, blue being what it rejects, and return its path."""

    def write(*, digest: str = "colour", has_reject: bool = True):
        rows = 3 if has_reject else 2
        head = OpenSetClassifier(
            classes=("reds", "greens"),
            weights=8 * np.eye(3, dtype=np.float32)[:rows],
            bias=np.zeros(rows, np.float32),
            fingerprint_digest=digest,
            training=Training({"reds": 4, "greens": 4}, 4 * has_reject, 0.003),
        )
        write_classifier(tmp_path / "head.safetensors", head)
        return tmp_path / "head.safetensors"

    return write


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name, colour in COLOURS.items():
        cv2.imwrite(str(folder / f"{name}.png"), np.full((40, 40, 3), colour, np.uint8))
    return folder


def classified(*arguments: object) -> Result:
    return CliRunner().invoke(classify, list(map(str, arguments)))


@pytest.mark.usefixtures("opened")
def test_every_image_gets_its_class_or_unknown(images, write_head):
    result = classified(images, "--classifier", write_head())

    assert result.exit_code == 0, result.output
    assert [line.split(": ")[1].split(" ")[0] for line in result.stdout.splitlines()] == [
        "unknown",
        "greens",
        "reds",
    ]


@pytest.mark.usefixtures("opened")
def test_images_go_through_the_model_in_groups(images, write_head, monkeypatch):
    groups, compute = [], ColourExtractor.fingerprints_from_tiles

    def counted(self, tiles):
        groups.append(len(tiles))
        return compute(self, tiles)

    monkeypatch.setattr(ColourExtractor, "fingerprints_from_tiles", counted)
    for number in range(7):
        cv2.imwrite(str(images / f"{number}.png"), np.full((40, 40, 3), number, np.uint8))

    assert len(classified(images, "--classifier", write_head()).stdout.splitlines()) == 10
    assert groups == [8, 2]


@pytest.mark.usefixtures("opened")
def test_json_holds_the_probability_of_every_class(images, write_head):
    result = classified(images / "red.png", "--classifier", write_head(), "--json")

    record = json.loads(result.stdout)
    assert record["label"] == "reds"
    assert set(record["probabilities"]) == {"reds", "greens", "unknown"}
    assert sum(record["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert len(record["sha256"]) == 64


@pytest.mark.usefixtures("opened")
def test_nothing_is_unknown_to_a_classifier_without_a_reject_class(images, write_head):
    head = write_head(has_reject=False)

    result = classified(images / "blue.png", "--classifier", head, "--json")

    assert set(json.loads(result.stdout)["probabilities"]) == {"reds", "greens"}


@pytest.mark.usefixtures("opened")
def test_a_broken_image_is_named_and_the_others_go_on(images, write_head):
    (images / "broken.png").write_bytes(b"text")

    result = classified(images, "--classifier", write_head())

    assert result.exit_code == 1
    broken = images / "broken.png"
    assert result.stderr.startswith(f"{broken}: the file holds text ('text'); expected JPEG")
    assert "broken.png" not in result.stdout
    assert len(result.stdout.splitlines()) == 3


@pytest.mark.usefixtures("opened")
def test_a_classifier_of_another_bundle_is_refused(images, write_head):
    result = classified(images, "--classifier", write_head(digest="other"))

    assert isinstance(result.exception, ClassifierError)
    assert "fit-open-set" in result.exception.hint


def test_no_model_is_loaded_for_a_file_that_is_no_classifier(images, opened, tmp_path):
    (tmp_path / "no-head").write_text("text")

    result = classified(images, "--classifier", tmp_path / "no-head")

    assert isinstance(result.exception, ClassifierError)
    assert opened == []


def test_a_folder_without_images_is_a_usage_error(tmp_path, write_head):
    (tmp_path / "empty").mkdir()

    assert isinstance(
        classified(tmp_path / "empty", "--classifier", write_head()).exception, UsageError
    )
