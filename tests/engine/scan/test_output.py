import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lineup.errors import LineupError, UsageError
from lineup.results import Attribution, RowError
from lineup.scan.encoding import CsvEncoder, JsonlEncoder, RowFormat
from lineup.scan.output import (
    OutputFile,
    OutputMode,
    OutputStream,
    open_output,
)

RUN = "0" * 12
ROWS = [Attribution(f"{name}.png", RUN, sha256=name * 64) for name in "abc"]


@pytest.fixture(params=[RowFormat.JSONL, RowFormat.CSV])
def row_format(request):
    return request.param


@pytest.fixture
def encoder(row_format, engine):
    if row_format is RowFormat.JSONL:
        return JsonlEncoder()
    return CsvEncoder(engine.columns())


@pytest.fixture
def write(tmp_path, row_format, encoder):
    """Write rows to the file of the test, and return its bytes."""
    path = tmp_path / "r.out"

    def write(rows, mode=OutputMode.CREATE, run=RUN, **options):
        with OutputFile(path, mode, **options) as output:
            output.begin(encoder, run)
            for row in rows:
                if not output.done.holds(row.path, row.sha256):
                    output.write(row)
        return path.read_bytes()

    write.path = path
    return write


def test_rows_reach_the_file_as_they_are_written(tmp_path, encoder, row_format):
    path = tmp_path / "r.out"
    with OutputFile(path, OutputMode.CREATE) as output:
        output.begin(encoder, RUN)
        for count, row in enumerate(ROWS, start=1):
            output.write(row)
            written = b"".join(map(encoder.bytes_from_row, ROWS[:count]))
            assert path.read_bytes() == encoder.header + written


def test_a_scan_cut_anywhere_resumes_to_the_same_file(write):
    whole = write(ROWS)

    for cut in [*range(0, len(whole), 11), len(whole) - 1, len(whole)]:
        write.path.write_bytes(whole[:cut])
        assert write(ROWS, OutputMode.RESUME) == whole


def test_resume_without_a_file_starts_one(write):
    assert write(ROWS, OutputMode.RESUME) == write(ROWS, OutputMode.OVERWRITE)


def test_overwrite_replaces_a_longer_file(write, encoder):
    write(ROWS)

    assert write(ROWS[:1], OutputMode.OVERWRITE) == encoder.header + encoder.bytes_from_row(ROWS[0])


def test_nothing_is_replaced_before_there_is_a_row(write):
    whole = write(ROWS)

    assert write([], OutputMode.OVERWRITE) == whole


def test_failed_rows_of_before_are_counted(tmp_path, encoder, row_format, write):
    write([*ROWS, Attribution("d.png", RUN, error=RowError("E", "bad"))])
    with OutputFile(write.path, OutputMode.RESUME) as output:
        output.begin(encoder, RUN)
        assert output.failed_before == 1


def failed(name):
    return Attribution(f"{name}.png", RUN, sha256=name * 64, error=RowError("E", "bad"))


def test_failures_are_tried_again_and_one_row_a_path_stays(write):
    write([ROWS[0], failed("b"), failed("c"), failed("d")])

    after = write([ROWS[1], failed("c")], OutputMode.RESUME)

    assert [path.name for path in write.path.parent.iterdir()] == ["r.out"]
    write.path.unlink()
    assert after == write([ROWS[0], ROWS[1], failed("c"), failed("d")])


def test_failures_may_be_left_alone(write):
    whole = write([ROWS[0], failed("b")])

    assert write([ROWS[1]], OutputMode.RESUME, retries_failed=False) == whole


def test_failures_that_were_mended_count_no_more(write, encoder):
    write([failed("a"), failed("b")])
    with OutputFile(write.path, OutputMode.RESUME) as output:
        output.begin(encoder, RUN)
        assert output.failed_before == 2
        output.write(ROWS[0])
        assert output.failed_before == 1


def test_an_image_that_changed_has_one_row(write, encoder):
    write(ROWS)
    changed = Attribution("a.png", RUN, sha256="f" * 64)

    after = write([changed], OutputMode.RESUME)

    assert after == encoder.header + b"".join(map(encoder.bytes_from_row, [changed, *ROWS[1:]]))


def test_a_scan_killed_after_a_retry_is_tidied_by_the_next(write, encoder):
    write([failed("a"), ROWS[1]])
    with write.path.open("ab") as stream:
        stream.write(encoder.bytes_from_row(ROWS[0]))

    after = write([], OutputMode.RESUME)

    assert after == encoder.header + b"".join(map(encoder.bytes_from_row, ROWS[:2]))


def test_of_two_rows_of_a_path_the_last_says_whether_it_failed(write, encoder):
    whole = write(ROWS)
    with write.path.open("ab") as stream:
        stream.write(encoder.bytes_from_row(failed("a")))

    assert write(ROWS, OutputMode.RESUME) == whole


def test_what_is_refused_is_not_tidied_either(write, encoder):
    write([failed("a")])
    with write.path.open("ab") as stream:
        stream.write(encoder.bytes_from_row(ROWS[0]))
    before = write.path.read_bytes()

    with pytest.raises(UsageError):
        write([], OutputMode.RESUME, run="1" * 12)

    assert write.path.read_bytes() == before


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n", b"a.png\nb.png\n", b"{}", b"path"])
def test_only_rows_are_replaced(write, content):
    write.path.write_bytes(content)

    if content == b"path":  # what a killed scan may leave of a header
        write(ROWS, OutputMode.OVERWRITE)
        return
    with pytest.raises(UsageError, match="does not hold the rows of a scan"):
        write(ROWS, OutputMode.OVERWRITE)
    assert write.path.read_bytes() == content
    assert [path.name for path in write.path.parent.iterdir()] == ["r.out"]


def test_rows_are_written_through_a_link(write, encoder):
    write([failed("a"), ROWS[1]])
    link = write.path.with_name("link")
    link.symlink_to(write.path.name)

    with OutputFile(link, OutputMode.RESUME) as output:
        output.begin(encoder, RUN)
        output.write(ROWS[0])

    assert link.is_symlink()
    rows = b"".join(map(encoder.bytes_from_row, ROWS[:2]))
    assert write.path.read_bytes() == encoder.header + rows


def test_an_existing_file_is_refused(write):
    whole = write(ROWS)

    with pytest.raises(UsageError, match="exists already") as caught:
        write(ROWS)
    assert "--resume" in caught.value.hint
    assert write.path.read_bytes() == whole


def test_rows_of_another_run_or_version_are_refused(write, monkeypatch):
    whole = write(ROWS)

    with pytest.raises(UsageError, match="run 000000000000; this is run 111111111111"):
        write(ROWS, OutputMode.RESUME, run="1" * 12)
    monkeypatch.setattr("lineup.scan.output.__version__", "99.0")
    with pytest.raises(UsageError, match=r"this is lineup 99\.0") as caught:
        write(ROWS, OutputMode.RESUME)
    assert "--overwrite" in caught.value.hint
    assert write.path.read_bytes() == whole


@pytest.mark.parametrize(
    "content", [b"precious", b"precious\n", b"\x89PNG\r\n\x1a\n", b'{"path": 3, "x', b"\xff" * 99]
)
def test_a_foreign_file_is_never_taken_for_a_partial_row(write, content):
    write.path.write_bytes(content)

    with pytest.raises(UsageError, match="cannot be resumed"):
        write(ROWS, OutputMode.RESUME)
    assert write.path.read_bytes() == content


def test_two_scans_cannot_share_a_file(write, row_format):
    write(ROWS)
    other_name = write.path.with_name("link")
    other_name.symlink_to(write.path)

    with (
        OutputFile(write.path, OutputMode.RESUME),
        pytest.raises(UsageError, match="Another scan"),
    ):
        OutputFile(other_name, OutputMode.RESUME)
    OutputFile(other_name, OutputMode.RESUME).__exit__(None, None, None)


def test_no_lock_file_stays_behind(write):
    write(ROWS)
    with pytest.raises(UsageError):
        write(ROWS)

    assert [path.name for path in write.path.parent.iterdir()] == ["r.out"]


def test_folders_are_refused(tmp_path):
    with pytest.raises(UsageError, match="is a folder"):
        OutputFile(tmp_path, OutputMode.OVERWRITE)
    with pytest.raises(UsageError, match="There is no folder") as caught:
        OutputFile(tmp_path / "no" / "r.jsonl", OutputMode.CREATE)
    assert "mkdir" in caught.value.hint


@pytest.mark.skipif(sys.platform == "win32", reason="limits on file sizes are POSIX")
def test_a_full_disk_leaves_complete_rows(tmp_path):
    code = """
import resource, signal, sys
from pathlib import Path
from lineup.errors import LineupError
from lineup.scan.output import *
from lineup.scan.encoding import JsonlEncoder
from lineup.results import Attribution
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
output = OutputFile(Path(sys.argv[1]), OutputMode.CREATE)
output.begin(JsonlEncoder(), "0" * 12)
try:
    for index in range(99):
        output.write(Attribution(f"{index}.png", "0" * 12))
except LineupError as error:
    print(error)
"""
    path = tmp_path / "r.jsonl"
    child = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=False
    )

    assert "Cannot write rows" in child.stdout, child.stderr
    assert "--resume" in child.stdout
    assert path.read_bytes().endswith(b"}\n")
    assert 500 < path.stat().st_size <= 1000


class FailingStream(io.BytesIO):
    def __init__(self, code):
        super().__init__()
        self.code = code

    def write(self, data):
        raise OSError(self.code, os.strerror(self.code))


def test_stream_errors_are_told_apart():
    for code, kind in ((errno.EPIPE, BrokenPipeError), (errno.ENOSPC, LineupError)):
        stream = OutputStream(FailingStream(code), "standard output")
        with pytest.raises(kind):
            stream.begin(JsonlEncoder(), RUN)


def test_rows_leave_a_stream_as_they_are_written(encoder):
    reached = io.BytesIO()
    output = OutputStream(io.BufferedWriter(reached), "standard output")

    output.begin(encoder, RUN)
    assert reached.getvalue() == encoder.header
    output.write(ROWS[0])
    assert reached.getvalue() == encoder.header + encoder.bytes_from_row(ROWS[0])


def test_a_stream_cannot_be_resumed():
    with pytest.raises(UsageError, match="standard output cannot be resumed"):
        open_output("-", OutputMode.RESUME, io.BytesIO())


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="needs a device file")
def test_a_device_that_exists_is_a_stream():
    with open_output("/dev/null", OutputMode.CREATE, io.BytesIO()) as output:
        assert isinstance(output, OutputStream)
        output.begin(JsonlEncoder(), RUN)
        output.write(ROWS[0])
