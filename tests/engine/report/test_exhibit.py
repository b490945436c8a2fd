"""The exhibit of one image: what stands in it, and that the same answer is the same bytes."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from lineup.cli.attribute import attribute
from lineup.engine import open_engine
from lineup.report.about import error_rates

pypdf = pytest.importorskip("pypdf", reason="pypdf reads exhibits (extra dev)")
pytest.importorskip("fpdf", reason="fpdf2 writes exhibits (extra pdf)")
pytestmark = pytest.mark.usefixtures("colour_engine")


def run(*arguments):
    return CliRunner().invoke(attribute, [str(one) for one in arguments])


def text_of(path):
    return "\n".join(page.extract_text() for page in pypdf.PdfReader(path).pages)


def test_the_exhibit_says_what_was_asked_of_what_and_how_sure_it_is(red_image, tmp_path):
    exhibit = tmp_path / "exhibit.pdf"
    result = run(red_image, "--pdf", exhibit, "--pdf-date", "2026-11-28")

    assert (result.exit_code, result.stderr) == (0, f"exhibit: {exhibit}\n")
    text = text_of(exhibit)
    with open_engine() as engine:
        assert engine.gallery.digest in text
    assert hashlib.sha256(red_image.read_bytes()).hexdigest() in text
    assert "Most likely made by reds" in text
    assert "2026-11-28" in text
    rate = error_rates().fingerprint.enrolled_right
    told = f"{rate.percent:g} % ({rate.low:g} to {rate.high:g}) were named rightly"
    assert told in text
    assert len(pypdf.PdfReader(exhibit).pages[0].images) == 1


def test_the_same_answer_is_the_same_bytes(red_image, tmp_path, monkeypatch):
    once, again = tmp_path / "once.pdf", tmp_path / "again.pdf"
    os.utime(red_image, (1e9, 1e9))

    assert run(red_image, "--pdf", once).exit_code == 0
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert run(red_image, "--pdf", again).exit_code == 0
    assert once.read_bytes() == again.read_bytes()
    assert "2001-09-09" in text_of(once)


def test_names_of_any_script_are_printed_or_escaped(red_image, tmp_path, monkeypatch):
    matplotlib = pytest.importorskip("matplotlib", reason="its font is tried (extra eval)")
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    image = red_image.with_name("Панда{nb} 熊\u202e(a)\\ü.png")
    shutil.copy(red_image, image)
    for folders, expected in (
        ([fonts], "Панда{nb} \\u718a\\u202e(a)\\ü.png"),
        ([], "\\u0434\\u0430{nb}"),
    ):
        monkeypatch.setattr("lineup.report.sheet.FONT_FOLDERS", folders)
        assert run(image, "--pdf", tmp_path / "exhibit.pdf").exit_code == 0
        assert expected in text_of(tmp_path / "exhibit.pdf")


def test_resyntheses_are_shown(toy_lineup, red_image, tmp_path):
    exhibit = tmp_path / "exhibit.pdf"

    assert run(red_image, "--lineup", "toy", "--pdf", exhibit).exit_code == 0
    images = sum(len(page.images) for page in pypdf.PdfReader(exhibit).pages)
    assert images == 1 + text_of(exhibit).count("resynthesis by") > 1


def test_an_exhibit_replaces_no_image_and_is_of_one(red_image, tmp_path):
    before = red_image.read_bytes()

    assert "is an input as well" in str(run(red_image, "--pdf", red_image).exception)
    assert red_image.read_bytes() == before
    other = shutil.copy(red_image, tmp_path / "other.png")
    result = run(red_image, other, "--pdf", tmp_path / "exhibit.pdf")
    assert "--pdf takes one image at a time" in result.stderr


def test_without_its_extra_the_line_that_installs_it_is_told(red_image, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    result = run(red_image, "--pdf", tmp_path / "exhibit.pdf")
    assert "lineup-forensics[pdf]" in result.exception.hint
