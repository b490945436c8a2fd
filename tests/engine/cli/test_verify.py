import json
import re

import pytest
from click.testing import CliRunner

from lineup.cli.verify import verify
from lineup.errors import SourceNotFoundError, UnsupportedImageError, UsageError

pytestmark = pytest.mark.usefixtures("colour_engine")


def test_a_match(red_image):
    result = CliRunner().invoke(verify, [str(red_image), "--source", "reds"])

    assert result.exit_code == 0
    assert "match with reds" in result.stdout
    assert "no match" not in result.stdout


def test_the_false_accept_rate_says_what_it_is_measured_on(red_image):
    output = CliRunner().invoke(verify, [str(red_image), "--source", "reds"]).stdout

    assert re.search(
        r"^0 of \d+ images of \d other sources? match at least as well, so", output, re.M
    )
    assert re.search(r"so below \d+\.\d % of such images do$", output, re.M)


def test_no_match(red_image):
    assert (
        "no match with blues"
        in CliRunner().invoke(verify, [str(red_image), "--source", "blues"]).stdout
    )


def test_json(red_image):
    record = json.loads(
        CliRunner().invoke(verify, [str(red_image), "--source", "reds", "--json"]).stdout
    )

    assert record["accepted"] is True
    assert record["support"] == 12
    assert record["others"] > 0
    assert record["false_accept_rate"] == 0.0
    assert 0.5 < record["probability"] < 1


@pytest.mark.parametrize("name", ["greens", "real"])
def test_only_candidates_can_be_verified(red_image, name):
    result = CliRunner().invoke(verify, [str(red_image), "--source", name])

    assert isinstance(result.exception, SourceNotFoundError)
    assert "reds" in result.exception.hint


def test_a_pattern_stands_for_one_image(red_image):
    pattern = str(red_image.with_name("*.png"))
    assert "match with reds" in CliRunner().invoke(verify, [pattern, "--source", "reds"]).stdout

    red_image.with_name("other.png").write_bytes(red_image.read_bytes())
    result = CliRunner().invoke(verify, [pattern, "--source", "reds"])

    assert isinstance(result.exception, UsageError)
    assert "stands for 2 images" in result.exception.message


def test_a_broken_image_is_named(tmp_path):
    path = tmp_path / "query.png"
    path.write_bytes(b"text")

    result = CliRunner().invoke(verify, [str(path), "--source", "reds"])

    assert isinstance(result.exception, UnsupportedImageError)
    assert "query.png" in result.exception.message
