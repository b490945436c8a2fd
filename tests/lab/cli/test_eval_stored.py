"""`lineup eval attribution --stored`: the pocket generators play the API, as accurate as live."""

import json
import shutil

import cv2
import pytest
from click.testing import CliRunner

from lineup.cli.main import cli
from lineup.errors import UsageError
from lineup.files import sha256_from_file
from lineup.lineups.spec import LineupSpec
from lineup.lineups.store import Lineup
from lineup.models.generator import ImageGenerator
from lineup.runtime import Runtime
from lineup_lab.stored_layout import LaidOutResyntheses, stored_lineup

MAKERS = ("pocket-ash", "pocket-cedar")
PROMPT = "a large red star in the snow"


def run(*arguments):
    result = CliRunner().invoke(cli, [str(one) for one in arguments], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels[..., ::-1])


def evaluated(directory, *options):
    document = json.loads(
        run(
            *("eval", "attribution", directory, "--json", "--threads", 1, "--bootstrap", 100),
            *("--lineup", "two", "--no-cache", "--mode", "default", "--mode", "regeneration"),
            *options,
        )
    )
    return {
        mode: {key: one[key] for key in ("accuracy", "ece", "confusion", "sets", "n")}
        for mode, one in document["modes"].items()
    }


def test_stored_resyntheses_do_as_well_as_live_ones(tmp_path):
    images, file = tmp_path / "set", tmp_path / "captions.jsonl"
    runtime = Runtime("cpu", threads=1)
    generators = {name: runtime.open(ImageGenerator, name) for name in MAKERS}
    candidates = [part for name in MAKERS for part in ("--candidate", f"{name}={name}")]
    models = ("--encoder", "pocket-clip", "--captioner", "pocket-captioner", "--gamma", 1)
    run("lineups", "create", "two", *models, *candidates)
    for name, generator in generators.items():
        for seed, pixels in enumerate(generator.images(PROMPT, [70, 71])):
            write(images / name / f"{name}-{seed}.png", pixels)
    live = evaluated(images)

    run("captions", images, "-o", file, "--lineup", "two", "--threads", 1)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for name, generator in generators.items():
        with generator:
            for row in rows:
                drawn = generator.images(row["caption"], row["seeds"])
                for picture, pixels in zip(row["pictures"], drawn, strict=True):
                    write(tmp_path / "api" / name / f"{picture}.png", pixels)
        run("resyntheses", "add", name, tmp_path / "api" / name, "--captions", file)

    added = evaluated(images, "--stored")
    for source in MAKERS:
        for name in MAKERS:
            shutil.copytree(tmp_path / "api" / name, images / source / "images" / name)
    run("resyntheses", "remove", "pocket-ash", "--yes")
    beside = evaluated(images, "--stored")

    assert live["default"]["n"] == 4
    assert live["default"]["sets"]["resynthesis"]["accuracy"] is not None
    assert added == live
    assert beside == live


def test_images_find_their_resyntheses_by_name(tmp_path):
    folder = tmp_path / "a"
    for seed, name in enumerate(
        ("1.png", "1-2.png", "images/x/1.jpg", "images/x/1-2.jpg", "images/y/1-10.png")
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(bytes([seed]))
    (folder / "images" / "y" / "1-9.png").write_bytes(b"nine")
    (folder / "images" / "y" / "other.png").write_bytes(b"of nobody")

    laid_out = LaidOutResyntheses(tmp_path)
    first = laid_out.of_query(sha256_from_file(folder / "1.png"))
    second = laid_out.of_query(sha256_from_file(folder / "1-2.png"))

    assert laid_out.candidates == ("x", "y")
    assert {name: [path.name for path in one.paths] for name, (one,) in first.items()} == {
        "x": ["1.jpg"],
        "y": ["1-9.png", "1-10.png"],
    }
    assert [path.name for path in second["x"][0].paths] == ["1-2.jpg"]
    before = laid_out.revision
    (folder / "images" / "x" / "1.jpg").write_bytes(b"another")
    assert LaidOutResyntheses(tmp_path).revision != before


def test_a_lineup_without_an_encoder_compares_nothing():
    with pytest.raises(UsageError, match="no encoder"):
        stored_lineup(Lineup(LineupSpec("toy")), None)
