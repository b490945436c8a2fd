import os
import subprocess
import sys

import platformdirs
import pytest

from lineup.paths import home_dir, home_entries, shipped_dir

SAMPLE = shipped_dir() / "samples" / "drawing-1.png"


def test_the_environment_wins(monkeypatch, tmp_path):
    monkeypatch.setenv("LINEUP_HOME", str(tmp_path / "home"))

    assert home_dir() == tmp_path / "home"


def test_the_platform_decides_otherwise(monkeypatch):
    monkeypatch.delenv("LINEUP_HOME", raising=False)

    assert str(home_dir()) == platformdirs.user_cache_dir("lineup", appauthor=False)


def test_shipped_data_is_in_the_package():
    assert (shipped_dir() / "gallery.safetensors").is_file()


def file(home):
    home.write_text("x")


def loop(home):
    home.symlink_to(home)


def closed(home):
    home.mkdir(mode=0)
    if os.access(home, os.R_OK):
        pytest.skip("this user may read everything")


@pytest.mark.parametrize("spoil", [file, loop, closed])
def test_an_answer_needs_no_home(tmp_path, spoil):
    home = tmp_path / "home"
    spoil(home)
    environment = {**os.environ, "LINEUP_HOME": str(home)}

    def run(*arguments):
        command = [sys.executable, "-m", "lineup", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert "Traceback" not in done.stderr
        return done

    done = run("attribute", SAMPLE)
    assert done.returncode == 0, done.stderr
    assert "Most likely" in done.stdout or "Undetermined" in done.stdout
    assert "cannot be read (" in done.stderr
    assert all(line.startswith(str(home)) for line in done.stderr.splitlines())
    assert run("cache").returncode == 0
    assert "NOT WRITABLE" in run("doctor").stdout
    assert run("enroll", "mine", SAMPLE).returncode == 1


def test_a_folder_of_the_home_that_cannot_be_read_is_warned_of_once(tmp_path, caplog):
    (tmp_path / "file").write_text("x")

    for _ in range(2):
        assert home_entries(tmp_path / "absent") == []
        assert home_entries(tmp_path / "file") == []
        assert home_entries(tmp_path / "file" / "below") == []

    file = tmp_path / "file"
    assert caplog.messages == [
        f"{file} cannot be read (Not a directory): nothing of yours in it counts"
    ]
    assert home_entries(tmp_path) == [file]
