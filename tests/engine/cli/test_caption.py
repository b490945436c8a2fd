import json

import pytest
from click.testing import CliRunner
from toy_engine import open_instead

from lineup.cli.caption import caption
from lineup.closing import ClosesOnExit
from lineup.errors import UsageError
from lineup.models.captioner import Caption


class ColourCaptioner(ClosesOnExit):
    """Says which channel is brightest; two images a run."""

    def __init__(self):
        self.calls = []

    def images_per_run(self, beams):
        return 2

    def captions(self, images, options):
        self.calls.append((len(images), options))
        names = ["red", "green", "blue"]
        return [
            Caption(names[int(image.mean(axis=(0, 1)).argmax())], (7,), -0.5) for image in images
        ]

    def close(self):
        pass


@pytest.fixture
def toy(monkeypatch):
    """The captioner that the command gets, and what it was opened with."""
    captioner = ColourCaptioner()

    def open_captioner(bundle, device, threads):
        captioner.opened = (bundle, {"device": device, "threads": threads})
        return captioner

    open_instead(monkeypatch, Captioner=open_captioner)
    return captioner


def test_one_line_per_image(toy, red_image):
    result = CliRunner().invoke(caption, [str(red_image), str(red_image)])

    assert result.exit_code == 0
    assert result.stdout == f"{red_image}: red\n" * 2
    assert result.stderr == ""


def test_json(toy, red_image):
    result = CliRunner().invoke(caption, [str(red_image), "--json"])

    assert json.loads(result.stdout) == {
        "path": str(red_image),
        "caption": "red",
        "token_ids": [7],
        "log_probability": -0.5,
    }


def test_a_folder_is_searched_and_goes_in_runs(toy, tmp_path, red_image):
    for name in ("b.png", "c.png"):
        (tmp_path / name).write_bytes(red_image.read_bytes())

    result = CliRunner().invoke(caption, [str(tmp_path)])

    assert [line.split(": ")[0] for line in result.stdout.splitlines()] == [
        str(tmp_path / name) for name in ("b.png", "c.png", "red.png")
    ]
    assert [count for count, _ in toy.calls] == [0, 2, 1]


def test_an_unreadable_image_is_named_and_the_others_go_on(toy, tmp_path, red_image):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"text")
    missing = tmp_path / "missing.png"

    result = CliRunner().invoke(caption, [str(broken), str(red_image), str(missing)])

    assert result.exit_code == 1
    assert result.stdout == f"{red_image}: red\n"
    errors = result.stderr.splitlines()
    assert len(errors) == 2
    assert errors[0].startswith(f"Error: {broken}")
    assert errors[1].startswith(f"Error: {missing}")


def test_options_reach_the_captioner(toy, red_image):
    options = "--captioner other --beams 3 --prompt a --max-tokens 9 --device cpu --threads 2"

    CliRunner().invoke(caption, [str(red_image), *options.split()])

    assert toy.opened == ("other", {"device": "cpu", "threads": 2})
    count, given = toy.calls[-1]
    assert (count, given.beams, given.prompt, given.max_tokens) == (1, 3, "a", 9)


def test_a_folder_without_images_is_a_usage_error(toy, tmp_path):
    result = CliRunner().invoke(caption, [str(tmp_path)])

    assert isinstance(result.exception, UsageError)
    assert str(tmp_path) in result.exception.message


def test_no_argument_is_a_usage_error():
    assert CliRunner().invoke(caption, []).exit_code == 2
