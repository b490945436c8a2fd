import hashlib
import json
import re

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from lineup.cli.attribute import attribute
from lineup.errors import UsageError
from lineup.fusion import BY_FINGERPRINT, BY_REFERENCE

pytestmark = pytest.mark.usefixtures("colour_engine")


def run(*arguments):
    return CliRunner().invoke(attribute, [str(one) for one in arguments])


def test_the_help_tells_the_limits_that_names_take():
    told = " ".join(run("--help").stdout.split())

    least, with_clip = (100 * one.naming for one in (BY_FINGERPRINT, BY_REFERENCE))
    assert f"a name is given at {least:.0f} % and more, at {with_clip:.0f} % with CLIP" in told


def test_the_answer_is_a_sentence_the_likeliest_sources_and_a_caveat(red_image):
    result = run(red_image)

    assert result.exit_code == 0
    path, sentence, sources, caveat = result.stdout.rstrip().splitlines()
    assert path == str(red_image)
    assert re.fullmatch(r"Most likely made by reds \(\d+(\.\d)? %\)\.", sentence)
    assert re.fullmatch(r"Likeliest sources: reds [\d.]+ %, blues [\d.]+ %\.", sources)
    assert caveat
    assert max(map(len, (sentence, sources, caveat))) <= 80


def test_a_pattern_stands_for_its_images_and_a_name_that_is_gone_for_none(red_image):
    one, two = (red_image.with_name(name) for name in ("a1.png", "a2.png"))
    for path in (one, two):
        path.write_bytes(red_image.read_bytes())

    assert [
        json.loads(line)["path"]
        for line in run(one.with_name("a?.png"), "--json").stdout.splitlines()
    ] == [str(one), str(two)]
    assert run(one.with_name("a[2].png"), "--json").exit_code == 1


def test_a_file_that_cannot_be_read_keeps_no_other_from_its_row(red_image):
    loop = red_image.with_name("loop.png")
    loop.symlink_to(loop)

    result = run(loop, red_image, "gone.png", "--json")

    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 1
    assert [row["verdict"] for row in rows] == [None, "reds", None]
    assert f"{loop} cannot be read" in result.stderr


def test_json_is_the_row_of_a_scan(red_image):
    record = json.loads(run(red_image, "--json").stdout)

    assert record["verdict"] == "reds"
    assert record["path"] == str(red_image)
    assert sum(record["posterior"].values()) == pytest.approx(1)
    assert record["error"] is None
    assert record["caption"] is None
    assert record["evidence"]["fingerprint"]["cost_ms"] > 0


def test_an_image_of_no_known_source_may_be_a_photograph(tmp_path):
    path = tmp_path / "green.png"
    pixels = np.full((40, 40, 3), (0, 255, 0), np.uint8)
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())

    output = " ".join(run(path).stdout.split())

    assert "Undetermined: no source stands out." in output
    assert "no proof of a photograph" in output
    assert all(len(line) <= 80 for line in run(path).stdout.splitlines()[1:])


@pytest.mark.parametrize("content", [b"", b"text"])
def test_what_is_no_image_is_an_error_that_names_the_file(tmp_path, content):
    path = tmp_path / "query.png"
    path.write_bytes(content)

    result = run(path)

    assert result.exit_code == 1
    assert result.stderr.count(str(path)) == 1


def test_json_of_a_failure_is_an_error_row(tmp_path):
    path = tmp_path / "query.png"
    path.write_bytes(b"text")

    result = run(path, "--json")

    record = json.loads(result.stdout)
    assert record["error"]["type"] == "UnsupportedImageError"
    assert record["caption"] is None
    assert record["bytes"] == 4
    assert record["sha256"] == hashlib.sha256(b"text").hexdigest()
    assert result.exit_code == 1


def test_the_bytes_on_standard_input_are_an_image(red_image):
    def piped(content, *more):
        return CliRunner().invoke(attribute, ["-", *more], input=content)

    content = red_image.read_bytes()
    answered, of_file = (
        json.loads(one.stdout) for one in (piped(content, "--json"), run(red_image, "--json"))
    )
    refused = piped(b"text", "--json")
    record = json.loads(refused.stdout)

    assert answered["path"] is answered["origin"]["disagreement"] is None
    same = ("sha256", "bytes", "format", "width", "verdict", "posterior", "origin", "run")
    assert [answered[key] for key in same] == [of_file[key] for key in same]
    assert "Most likely made by reds" in piped(content).stdout
    assert refused.exit_code == 1
    assert refused.stderr.startswith("Error: standard input: ")
    assert record["sha256"] == hashlib.sha256(b"text").hexdigest()
    assert record["error"]["type"] == "UnsupportedImageError"
    assert piped(b"").exit_code == 1
    assert "standard input has one" in piped(content, "other.png").stderr


def test_a_folder_without_images_is_no_success(tmp_path):
    (tmp_path / "notes.txt").write_bytes(b"text")

    result = run(tmp_path)

    assert isinstance(result.exception, UsageError)
    assert result.exception.message == f"No images in {tmp_path}."


def test_one_bad_image_does_not_stop_the_others(tmp_path, red_image):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"text")

    result = run(bad, red_image, "--json")

    assert [json.loads(line)["verdict"] for line in result.stdout.splitlines()] == [None, "reds"]
    assert result.exit_code == 1


def test_a_picture_of_standard_input(toy_lineup, red_image, tmp_path):
    picture = tmp_path / "p.png"
    arguments = ["-", "--lineup", "toy", "--gamma", "1", "--picture", str(picture)]

    result = CliRunner().invoke(attribute, arguments, input=red_image.read_bytes())

    assert result.exit_code == 0, result.output
    assert cv2.imread(str(picture)) is not None


def test_all_evidence_of_a_lineup_is_explained(toy_lineup, red_image):
    output = run(red_image, "--lineup", "toy", "--explain", "--gamma", 2).stdout

    assert "Most likely made by reds" in output
    assert "Caption: a plain colour" in output
    for text in ("fingerprint", "resynthesis", "resynthesis-fingerprint", "LLR", "unet", "caption"):
        assert text in output
    lines = [line.split() for line in output.splitlines()]
    (generate,) = [words for words in lines if words[:1] == ["generate"]]
    assert generate[1:4] == ["2", "4", "0"]  # calls, images, from the cache


def test_json_tells_what_was_spent(toy_lineup, red_image):
    record = json.loads(run(red_image, "--lineup", "toy", "--json", "--gamma", 3).stdout)

    assert record["caption"] == "a plain colour"
    assert set(record["evidence"]) == {
        "fingerprint",
        "resynthesis",
        "resynthesis-fingerprint",
    }
    stages = {one["stage"]: one for one in record["resynthesis"]["stages"]}
    assert stages["generate"]["items"] == 6
    assert stages["text encoder"]["calls"] == 1
    assert len(record["evidence"]["resynthesis"]["samples"]["reds"]) == 3


def test_options_reach_the_models(toy_lineup, toy_generators, toy_encoder, red_image):
    run(
        red_image,
        *("--lineup", "toy", "--seed", 5, "--gamma", 1, "--encoder-layer", 1),
        *("--prompt", "red", "--evidence", "resynthesis", "--no-cache", "--json"),
    )

    assert toy_generators["reds"].seeds == [5]
    assert toy_encoder.calls == [(3, 1)]
    assert toy_lineup[0]["cache"] is False


def test_fingerprints_alone_draw_nothing(toy_lineup, toy_generators, red_image):
    record = json.loads(
        run(red_image, "--lineup", "toy", "--evidence", "fingerprint", "--json").stdout
    )

    assert set(record["evidence"]) == {"fingerprint"}
    assert toy_generators["reds"].seeds == []
    assert toy_lineup == []  # no model was opened


def test_resynthesis_never_runs_unasked(toy_lineup, red_image):
    record = json.loads(run(red_image, "--json").stdout)

    assert set(record["evidence"]) == {"fingerprint"}
    assert toy_lineup == []


def test_options_of_resynthesis_need_its_evidence(red_image):
    result = run(red_image, "--gamma", 2)

    assert isinstance(result.exception, UsageError)
    assert "--gamma is about resyntheses" in result.exception.message


def test_a_papers_mode_reports_the_softmax_of_its_scores(toy_lineup, red_image):
    record = json.loads(run(red_image, "--lineup", "toy", "--mode", "resynthesis", "--json").stdout)

    scores = np.array(list(record["evidence"]["resynthesis"]["scores"].values()))
    shares = np.exp(scores) / np.exp(scores).sum()
    names = list(record["evidence"]["resynthesis"]["scores"])
    assert [record["posterior"][name] for name in names] == pytest.approx(shares, abs=1e-6)
    assert record["posterior"]["generated"] == record["posterior"]["photograph"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--evidence", "aura"], "aura"),
        (["--mode", "resynthesis", "--gamma", "4"], "gamma 1, not 4"),
        (["--mode", "resynthesis", "--evidence", "fingerprint"], "--mode is about resyntheses"),
    ],
)
def test_what_cannot_be_asked_for_is_a_usage_error(toy_lineup, red_image, arguments, message):
    result = run(red_image, "--lineup", "toy", *arguments)

    assert isinstance(result.exception, UsageError)
    assert message in result.exception.message


@pytest.mark.parametrize("layer", ["last", "0", "-1"])
def test_a_layer_is_a_number_or_final(red_image, layer):
    result = run(red_image, "--encoder-layer", layer)

    assert result.exit_code == 2
    assert "final" in result.stderr


def test_the_picture_is_written(toy_lineup, red_image, tmp_path):
    result = run(red_image, "--lineup", "toy", "--picture", tmp_path / "out" / "picture.png")

    assert result.exit_code == 0
    assert cv2.imread(str(tmp_path / "out" / "picture.png")).shape[0] > 300


def test_without_a_generator_there_is_no_picture_and_lineup_says_so(red_image, tmp_path):
    picture = tmp_path / "picture.png"
    result = run(red_image, "--lineup", "gallery", "--picture", picture)

    assert result.exit_code == 0
    assert "no picture" in result.stderr
    assert not (tmp_path / "picture.png").exists()


def test_a_picture_never_replaces_its_query(toy_lineup, red_image, tmp_path):
    before = red_image.read_bytes()
    link = tmp_path / "link.png"
    link.symlink_to(red_image)

    for picture in (red_image, link):
        result = run(red_image, "--lineup", "toy", "--picture", picture)
        assert isinstance(result.exception, UsageError)
        assert "is an input as well" in result.exception.message
    assert red_image.read_bytes() == before


def test_a_picture_is_of_one_image(red_image, tmp_path):
    result = run(red_image, red_image, "--picture", tmp_path / "picture.png")

    assert result.exit_code == 2


def test_a_lineup_that_is_not_there(red_image):
    result = run(red_image, "--lineup", "nobody")

    assert "nobody" in result.exception.message
    assert result.exception.exit_code == 2
