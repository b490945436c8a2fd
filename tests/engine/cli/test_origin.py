"""`lineup origin`, and what is declared beside a verdict."""

import json

import cv2
import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

from lineup.cli.attribute import attribute
from lineup.cli.origin import NOTHING, origin
from lineup.cli.scan import scan
from lineup.engine import open_engine

HOSTILE = "EVIL\x1b[31m[bold]\n"


def run(command, *arguments):
    return CliRunner().invoke(command, [str(one) for one in arguments])


@pytest.fixture
def camera(tmp_path):
    """A red picture whose EXIF names a camera."""
    exif = PIL.Image.Exif()
    exif[271], exif[272] = "Canon", "EOS R5"
    path = tmp_path / "camera.png"
    PIL.Image.new("RGB", (64, 64), (250, 10, 10)).save(path, exif=exif)
    return path


@pytest.fixture
def hostile(tmp_path):
    exif = PIL.Image.Exif()
    exif[305] = HOSTILE
    path = tmp_path / "hostile.png"
    PIL.Image.new("RGB", (64, 64)).save(path, exif=exif)
    return path


def test_claims_of_every_file(camera, tmp_path):
    plain = tmp_path / "plain.png"
    plain.write_bytes(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    result = run(origin, tmp_path)

    assert result.exit_code == 0
    assert "Declared (exif): photographed with Canon EOS R5, unsigned text" in result.stdout
    assert NOTHING in result.stdout


def test_json_is_one_line_a_file(camera):
    record = json.loads(run(origin, camera, "--json").stdout)

    assert record["path"] == str(camera)
    assert record["claims"][0]["kind"] == "captured"


def test_a_file_that_is_no_image_fails_and_the_rest_goes_on(camera, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"text")
    result = run(origin, broken, camera)

    assert result.exit_code == 1
    assert "broken.png" in result.stderr
    assert "Canon" in result.stdout


def test_a_strangers_text_takes_no_effect(hostile):
    output = run(origin, hostile).stdout

    assert r"EVIL\x1b[31m[bold]" in output
    assert "\x1b" not in output


@pytest.mark.usefixtures("colour_engine")
class TestBesideAVerdict:
    def test_the_sentence_comes_first_and_the_disagreement_after(self, red_image, tmp_path):
        path = tmp_path / "camera.png"
        exif = PIL.Image.Exif()
        exif[271], exif[272] = "Canon", "EOS R5"
        PIL.Image.open(red_image).save(path, exif=exif)
        lines = run(attribute, path).stdout.splitlines()

        assert lines[1] == "The file declares: photographed with Canon EOS R5, unsigned text."
        assert lines[2].startswith("Most likely made by reds")
        assert lines[3].startswith("They disagree: the file declares a camera's picture")

    def test_it_moves_no_posterior_and_can_be_left_out(self, red_image, tmp_path):
        path = tmp_path / "camera.png"
        exif = PIL.Image.Exif()
        exif[271] = "Canon"
        PIL.Image.open(red_image).save(path, exif=exif)
        plain, told, left_out = (
            json.loads(run(attribute, one, "--json", *options).stdout)
            for one, options in ((red_image, ()), (path, ()), (path, ("--no-origin",)))
        )

        assert plain["posterior"] == told["posterior"] == left_out["posterior"]
        assert plain["run"] == told["run"] == left_out["run"]
        assert plain["origin"]["claims"] == []
        assert told["origin"]["claims"][0]["generator"] == "Canon"
        assert left_out["origin"] is None

    @pytest.mark.parametrize("options", [(), ("--no-origin",)])
    def test_a_scan_has_it(self, camera, options):
        record = json.loads(run(scan, camera, *options).stdout)

        assert (record["origin"] is None) == bool(options)

    def test_python_has_it(self, camera):
        with open_engine() as engine:
            by_path, by_bytes = engine.attribute(camera), engine.attribute(camera.read_bytes())
            by_pixels = engine.attribute(np.zeros((64, 64, 3), np.uint8))

        assert by_path.origin == by_bytes.origin
        assert by_path.origin.claims[0].generator == "Canon EOS R5"
        assert by_pixels.origin is None


def test_a_picture_that_is_cut_off_still_says_what_stands_before(tmp_path):
    exif = PIL.Image.Exif()
    exif[271], exif[272] = "Canon", "EOS R5"
    path = tmp_path / "cut.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    PIL.Image.fromarray(noise).save(path, exif=exif)
    path.write_bytes(path.read_bytes()[:-2000])
    result = run(origin, path)
    assert result.exit_code == 0
    assert "photographed with Canon EOS R5" in result.stdout
