"""Whatever the caller made of standard input, output and error: a message and an exit code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lineup.paths import shipped_dir

SAMPLE = shipped_dir() / "samples" / "drawing-1.png"
full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
unix = pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")


def shell(line, **environment):
    return subprocess.run(
        ["/bin/sh", "-c", line, sys.executable, str(SAMPLE)],
        capture_output=True,
        check=False,
        timeout=120,
        env={**os.environ, **environment},
    )


@unix
@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ('"$0" -m lineup --version >&-', 1, "standard output: Bad file descriptor"),
        ('"$0" -m lineup gallery list >&-', 1, "standard output: Bad file descriptor"),
        ('"$0" -m lineup scan "$1" >&-', 1, "standard output: Bad file descriptor"),
        ('"$0" -m lineup scan - <&-', 2, "The list on standard input cannot be read: Bad file"),
        ('"$0" -m lineup scan "$1" <&-', 0, ""),
        ('"$0" -m lineup scan "$1" 2>&-', 0, ""),
        ('"$0" -m lineup attribute nothing.png 2>&-', 1, ""),
        pytest.param('"$0" -m lineup --help >/dev/full', 1, "No space left", marks=full),
        pytest.param('"$0" -m lineup gallery list >/dev/full', 1, "No space left", marks=full),
        pytest.param('"$0" -m lineup scan "$1" >/dev/full', 1, "No space left", marks=full),
        pytest.param('"$0" -m lineup attribute nothing.png 2>/dev/full', 1, "", marks=full),
    ],
)
def test_streams_that_fail_are_told(line, code, said):
    done = shell(line)

    assert done.returncode == code
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr
    assert said.encode() in done.stderr
    assert bool(said) == bool(done.stderr)


@unix
def test_a_library_that_prints_gets_no_file_where_a_stream_was_closed(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import os\n"
        "from lineup.cli.streams import prepare_streams\n"
        "prepare_streams()\n"
        f"rows = os.open({str(tmp_path / 'rows')!r}, os.O_WRONLY | os.O_CREAT)\n"
        "assert rows > 2, rows\n"
    )

    assert shell(f'"$0" {program} <&- >&- 2>&-').returncode == 0


@unix
def test_a_reader_that_left_is_no_error():
    done = shell('("$0" -m lineup gallery list; echo $? >&2) | true')

    assert done.stderr == b"141\n"


@unix
@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_names_that_an_encoding_does_not_have_are_escaped(tmp_path, encoding):
    name = os.fsdecode(b"\xf0\x9f\x99\x82\xff\x1b[2J.png")
    (tmp_path / name).write_bytes(b"no image")

    done = shell(f'"$0" -m lineup attribute {tmp_path}', PYTHONIOENCODING=encoding)

    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"\\udcff\\x1b[2J.png" in done.stderr
