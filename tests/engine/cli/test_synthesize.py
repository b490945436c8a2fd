import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from toy_engine import open_instead

from lineup.bundles.info import GenerationInfo
from lineup.cli.synthesize import synthesize
from lineup.errors import BundleFormatError, BundleNotFoundError, UsageError
from lineup.trace import Trace

INFO = GenerationInfo(64, 64, 2, 1.5, 4, 8, 1.0, 0.0, "toy-vae", ())


class Painter:
    """Paints its seed."""

    name, digest, info, device = "toy", "d" * 64, INFO, "cpu"

    def __init__(self):
        self.trace = Trace()
        self.asked = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def text_states(self, prompts):
        with self.trace.call("text_encoder"):
            return tuple(prompts)

    def images(self, states, seeds, options):
        self.asked.append((states, list(seeds), options))
        with self.trace.call("unet"):
            return [np.full((8, 8, 3), (seed, 0, 255), np.uint8) for seed in seeds]


@pytest.fixture
def painter(monkeypatch):
    one = Painter()
    open_instead(monkeypatch, ImageGenerator=lambda *_: one)
    return one


def run(*arguments):
    return CliRunner().invoke(synthesize, [str(argument) for argument in arguments])


def test_images_and_how_they_were_made(painter, tmp_path):
    folder = tmp_path / "new" / "folder"
    result = run("toy", "--prompt", "a cat", "--count", 3, "--seed", 7, "-o", folder)

    assert result.exit_code == 0, result.output
    assert result.stdout == f"wrote 3 images of toy to {folder}\n"
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["synthesis.json", "toy-7.png", "toy-8.png", "toy-9.png"]
    assert cv2.imread(str(folder / "toy-8.png"))[0, 0].tolist() == [255, 0, 8]  # BGR
    record = json.loads((folder / "synthesis.json").read_text())
    assert record["prompt"] == "a cat"
    assert record["digest"] == painter.digest
    assert [image["seed"] for image in record["images"]] == [7, 8, 9]
    assert record["steps"] == 2
    assert record["guidance"] == 1.5
    assert (record["width_px"], record["height_px"]) == (64, 64)
    assert record["calls"] == {"text_encoder": 1, "unet": 3}
    assert set(record["ms"]) == {"text_encoder", "unet"}


def test_options_reach_the_generator(painter, tmp_path):
    init = tmp_path / "init.png"
    init.write_bytes(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    options = "--steps 4 --guidance 3 --width 128 --height 32 --strength 0.5 --batch 2"

    result = run(
        "toy", "--prompt", "a", "--negative-prompt", "b", "--count", 3, *options.split(),
        "--init", init, "-o", tmp_path / "out",
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    assert [seeds for _, seeds, _ in painter.asked] == [[0, 1], [2]]
    given = painter.asked[0][2]
    assert (given.steps, given.guidance, given.negative_prompt) == (4, 3.0, "b")
    assert (given.width_px, given.height_px, given.strength) == (128, 32, 0.5)
    assert given.init_image.shape == (8, 8, 3)
    record = json.loads((tmp_path / "out" / "synthesis.json").read_text())
    assert record["strength"] == 0.5
    assert len(record["init_sha256"]) == 64


@pytest.mark.usefixtures("painter")
def test_nothing_is_replaced_unless_asked(tmp_path):
    (tmp_path / "toy-1.png").write_bytes(b"mine")

    result = run("toy", "--prompt", "a", "--count", 2, "-o", tmp_path)

    assert isinstance(result.exception, UsageError)
    assert "toy-1.png exists already" in str(result.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["toy-1.png"]
    assert run("toy", "--prompt", "a", "--count", 2, "-o", tmp_path, "--overwrite").exit_code == 0
    assert (tmp_path / "toy-1.png").read_bytes() != b"mine"


def test_an_unknown_bundle(tmp_path):
    result = run("no-such-thing", "--prompt", "a", "-o", tmp_path, "--device", "cpu")

    assert isinstance(result.exception, BundleNotFoundError)


def test_a_bundle_of_another_kind(tmp_path):
    result = run("whitened-spectrum", "--prompt", "a", "-o", tmp_path, "--device", "cpu")

    assert isinstance(result.exception, BundleFormatError)
    assert "expected generator" in str(result.exception)


def test_a_strength_without_an_image(tmp_path):
    result = run("toy", "--prompt", "a", "--strength", 0.5, "-o", tmp_path)

    assert isinstance(result.exception, UsageError)
    assert "only a strength" in str(result.exception)


@pytest.mark.usefixtures("painter")
def test_a_folder_that_cannot_be_written(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")

    result = run("toy", "--prompt", "a", "-o", blocked / "under")

    assert isinstance(result.exception, UsageError)
    assert "cannot be written" in str(result.exception)
