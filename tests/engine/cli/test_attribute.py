import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from lineup.cli.attribute import attribute
from lineup.errors import UnreadableImageError, UnsupportedImageError

pytestmark = pytest.mark.usefixtures("colour_engine")


def test_a_readable_verdict(red_image):
    result = CliRunner().invoke(attribute, [str(red_image)])

    assert result.exit_code == 0
    assert "Verdict: reds" in result.stdout
    for name in ("reds", "blues", "unknown", "real"):
        assert name in result.stdout


def test_json_is_the_row_of_a_scan(red_image):
    record = json.loads(CliRunner().invoke(attribute, [str(red_image), "--json"]).stdout)

    assert record["verdict"] == "reds"
    assert record["path"] == str(red_image)
    assert sum(record["posterior"].values()) == pytest.approx(1)
    assert record["error"] is None


def test_an_image_of_no_known_source_may_be_a_photograph(tmp_path):
    path = tmp_path / "green.png"
    pixels = np.full((40, 40, 3), (0, 255, 0), np.uint8)
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())

    output = " ".join(CliRunner().invoke(attribute, [str(path)]).stdout.split())

    assert "Verdict: unknown" in output
    assert "another generator, or a photograph" in output


@pytest.mark.parametrize(
    ("content", "error"), [(b"", UnreadableImageError), (b"text", UnsupportedImageError)]
)
def test_what_is_no_image_is_an_error_that_names_the_file(tmp_path, content, error):
    path = tmp_path / "query.png"
    path.write_bytes(content)

    result = CliRunner().invoke(attribute, [str(path)])

    assert result.exit_code == 1
    assert str(path) in str(result.exception)


def test_json_of_a_failure_is_an_error_row(tmp_path):
    path = tmp_path / "query.png"
    path.write_bytes(b"text")

    result = CliRunner().invoke(attribute, [str(path), "--json"])

    assert json.loads(result.stdout)["error"]["type"] == "UnsupportedImageError"
    assert result.exit_code == 1
