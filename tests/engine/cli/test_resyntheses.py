"""`lineup captions` and `lineup resyntheses`, with toy models."""

import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from toy_engine import open_instead
from toy_models import ToyCaption, ToyCaptioner

from lineup.cli.captions import captions
from lineup.cli.lineups import lineups
from lineup.cli.resyntheses import resyntheses
from lineup.errors import GalleryError, ResynthesisError, UsageError
from lineup.files import sha256_from_file
from lineup.lineups.store import open_lineup
from lineup.stored.store import open_stored


def run(command, *arguments, code=0, **options):
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], **options)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def picture(path, seed):
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 24, 3), np.uint8)
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())
    return path


@pytest.fixture
def captioner(monkeypatch):
    opened = ToyCaptioner()
    opened.name = "toy"
    open_instead(monkeypatch, Captioner=lambda *_: opened)
    return opened


@pytest.fixture
def asked(tmp_path, captioner):
    """A file of captions of two images, two pictures each."""
    for seed, name in enumerate(("cat.png", "dog.png")):
        picture(tmp_path / "in" / name, seed)
    file = tmp_path / "captions.jsonl"
    run(captions, tmp_path / "in", "-o", file, "--gamma", 2)
    return file


@pytest.fixture
def bought(tmp_path, asked):
    """What came back, whole."""
    for seed, name in enumerate(("cat-0.png", "cat-1.jpg", "dog-0.png", "dog-1.webp")):
        picture(tmp_path / "api" / name, 10 + seed)
    return tmp_path / "api"


def test_captions_say_what_to_ask_for(asked, tmp_path):
    first, second = map(json.loads, asked.read_text().splitlines())

    assert first.pop("captioner").startswith("toy@toy-captione")
    assert first == {
        "schema_version": 1,
        "sha256": sha256_from_file(tmp_path / "in" / "cat.png"),
        "caption": "a plain colour",
        "seeds": [0, 1],
        "pictures": ["cat-0", "cat-1"],
        "width_px": 24,
        "height_px": 16,
        "path": str(tmp_path / "in" / "cat.png"),
    }
    assert second["pictures"] == ["dog-0", "dog-1"]


def test_captions_are_gone_on_with_and_failures_told(asked, tmp_path, captioner):
    picture(tmp_path / "in" / "emu.png", 5)
    (tmp_path / "in" / "bad.png").write_text("text")
    before = captioner.calls

    result = run(captions, tmp_path / "in", "-o", asked, "--gamma", 2, code=1)

    assert captioner.calls == before + 1
    assert result.stdout == f"{asked}: 1 new captions, 3 in all, 1 failed\n"
    assert "bad.png" in result.stderr
    with pytest.raises(UsageError, match="for the seeds 0, 1, not by"):
        run(captions, tmp_path / "in", "-o", asked, "--gamma", 3)


def test_an_image_without_words_fails_alone(tmp_path, captioner, monkeypatch):
    for seed, name in enumerate(("a.png", "b.png")):
        picture(tmp_path / "in" / name, seed)
    said = iter([[ToyCaption(" ")], [ToyCaption("a cat")]])
    monkeypatch.setattr(captioner, "captions", lambda _: next(said))

    result = run(captions, tmp_path / "in", "-o", tmp_path / "c.jsonl", code=1)

    assert "1 new captions, 1 in all, 1 failed" in result.stdout
    assert "a.png: the captioner has no words for it" in result.stderr


def test_captions_overwrite_no_image(tmp_path, captioner):
    path = picture(tmp_path / "in" / "cat.png", 0)

    with pytest.raises(UsageError, match="is an input"):
        run(captions, path, "-o", path)


def test_pictures_are_taken_in_listed_shown_and_removed(asked, bought):
    result = run(resyntheses, "add", "bought", bought, "--captions", asked)
    assert result.stdout == (
        "bought: pictures of 2 images are new, of 0 already there, of 0 missing or wrong\n"
    )
    before = open_stored().revision
    result = run(resyntheses, "add", "bought", bought, "--captions", asked)
    assert "0 images are new, of 2 already there" in result.stdout
    assert open_stored().revision == before

    (line,) = json.loads(run(resyntheses, "list", "--json").stdout)
    assert (line["name"], line["images"], line["pictures"]) == ("bought", 2, 4)
    assert run(resyntheses, "list").stdout.splitlines()[1].split()[:3] == ["bought", "2", "4"]
    query = asked.parent / "in" / "cat.png"
    (shown,) = json.loads(run(resyntheses, "show", "bought", "--query", query, "--json").stdout)
    assert shown["caption"] == "a plain colour"
    assert [path.rpartition(".")[2] for path in shown["pictures"]] == ["png", "jpeg"]
    assert "a plain colour" in run(resyntheses, "show", "bought").stdout

    refused = run(resyntheses, "remove", "bought", input="n\n", code=1)
    assert "Remove 4 pictures by bought?" in refused.stderr
    sha256 = sha256_from_file(query)
    result = run(resyntheses, "remove", "bought", "--query", sha256, "--yes")
    assert result.stdout == "removed 2 pictures by bought\n"
    assert open_stored().revision != before
    run(resyntheses, "remove", "bought", "--yes")
    assert run(resyntheses, "list").stdout == ""
    with pytest.raises(UsageError, match="no pictures by 'bought'"):
        run(resyntheses, "show", "bought")


def test_what_is_exported_can_be_added_elsewhere(asked, bought, tmp_path, monkeypatch):
    run(resyntheses, "add", "bought", bought, "--captions", asked)
    out = tmp_path / "out"
    run(resyntheses, "export", "bought", out)
    kept = {path.name for path in open_stored().folder.rglob("*.*")}
    monkeypatch.setenv("LINEUP_HOME", str(tmp_path / "elsewhere"))

    run(resyntheses, "add", "bought", out, "--captions", out / "captions.jsonl")

    assert {path.name for path in open_stored().folder.rglob("*.*")} == kept
    with pytest.raises(UsageError, match="exists already"):
        run(resyntheses, "export", "bought", out)


def test_of_an_image_with_a_missing_picture_nothing_is_taken_in(asked, bought):
    (bought / "dog-1.webp").unlink()

    result = run(resyntheses, "add", "bought", bought, "--captions", asked, code=1)

    assert "there is no picture dog-1 of " in result.stderr
    assert "1 images are new, of 0 already there, of 1 missing or wrong" in result.stdout
    assert [one.record.row.pictures for one in open_stored().sets()] == [("cat-0", "cat-1")]


@pytest.mark.parametrize("wrong", ["text", "query", "stray"])
def test_a_wrong_picture_is_named(asked, bought, wrong):
    bad = bought / "dog-0.png"
    if wrong == "text":
        bad.write_text("text")
    elif wrong == "query":
        bad.write_bytes((asked.parent / "in" / "dog.png").read_bytes())
    else:
        bad = picture(bought / "stray.png", 1)

    result = run(resyntheses, "add", "bought", bought, "--captions", asked, code=1)

    assert str(bad) in result.stderr
    assert sum(1 for _ in open_stored().sets()) == (2 if wrong == "stray" else 1)


@pytest.mark.parametrize("name", ["generated", "real", "../x"])
def test_only_a_source_can_have_made_them(asked, bought, name):
    with pytest.raises(GalleryError):
        run(resyntheses, "add", name, bought, "--captions", asked)


def test_what_is_no_file_of_captions_is_refused(bought, tmp_path):
    for text in ("{}\n", "cat\n"):
        (tmp_path / "c.jsonl").write_text(text)
        with pytest.raises(ResynthesisError, match="line 1"):
            run(resyntheses, "add", "bought", bought, "--captions", tmp_path / "c.jsonl")
    (tmp_path / "c.jsonl").write_text("")
    with pytest.raises(UsageError, match="no captions"):
        run(resyntheses, "add", "bought", bought, "--captions", tmp_path / "c.jsonl")


def test_a_lineup_lists_stored_candidates_beside_others():
    candidates = ("--stored-candidate", "bought", "--stored-candidate", "api=python 'my api.py' -v")
    run(lineups, "create", "mine", "--encoder", "pocket-clip", *candidates)
    run(lineups, "show", "mine")

    first, second = open_lineup("mine").spec.candidates

    assert (first.name, first.stored, first.command) == ("bought", True, None)
    assert (second.name, second.stored, second.command) == ("api", False, "python 'my api.py' -v")
