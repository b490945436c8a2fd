"""The manual pages are made from the commands, and roff takes every line of them."""

import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

from lineup.cli.main import COMMANDS

MAN = runpy.run_path(str(Path(__file__).parents[1] / "docs" / "man.py"))


@pytest.fixture(scope="module")
def pages():
    return dict(MAN["pages"]())


def test_every_command_has_a_page_with_its_options(pages):
    assert {f"lineup-{name}" for name in COMMANDS} <= set(pages)
    assert "\\fB\\-\\-settle SECONDS\\fR\nTake a file" in pages["lineup-watch"]
    assert ".BR lineup\\-scan (1)" in pages["lineup"]
    assert "lineup-gallery-show" in pages  # of a group inside


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff")
def test_roff_has_nothing_to_say_of_them(pages):
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z"],
        input="".join(pages.values()).encode(),
        capture_output=True,
        check=True,
    )

    assert done.stderr == b""
