import io
import json
import os

import pytest

from lineup.scan.encoding import RowFormatError
from lineup.scan.jsonl import JsonlEncoder, stored_rows_from_jsonl
from lineup.scan.rows import Row, RowError

RUN = "0" * 12


def test_a_row_is_one_line_of_ascii():
    row = Row(path="süß\u2028\n.png", run=RUN, error=RowError("E", "a\nb"))
    line = JsonlEncoder().bytes_from_row(row)

    assert line.startswith(JsonlEncoder().beginning())
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert line.isascii()
    assert json.loads(line)["path"] == row.path


def test_a_path_that_is_not_utf8_comes_back_exactly():
    path = os.fsdecode(b"caf\xe9.png")
    (stored,) = stored_rows_from_jsonl(
        io.BytesIO(JsonlEncoder().bytes_from_row(Row(path, RUN, sha256="ab")))
    )

    assert os.fsencode(stored.path) == b"caf\xe9.png"


def test_a_partial_last_line_is_left_out_wherever_it_was_cut():
    encoder = JsonlEncoder()
    first = encoder.bytes_from_row(Row("a.png", RUN, sha256="ab"))
    second = encoder.bytes_from_row(Row("b.png", RUN, error=RowError("E", "bad")))
    whole = first + second

    for cut in range(len(first), len(whole)):
        (stored,) = stored_rows_from_jsonl(io.BytesIO(whole[:cut]))
        assert (stored.path, stored.sha256, stored.end) == ("a.png", "ab", len(first))
    *_, last = stored_rows_from_jsonl(io.BytesIO(whole))
    assert (last.path, last.sha256, last.is_failed, last.end) == ("b.png", None, True, len(whole))


@pytest.mark.parametrize("line", [b"{}\n", b"[]\n", b"nonsense\n", b"\n", b"\x89PNG\r\n", b"3\n"])
def test_a_line_that_is_no_row_is_named(line):
    good = JsonlEncoder().bytes_from_row(Row("a.png", RUN))

    with pytest.raises(RowFormatError, match="line 2"):
        list(stored_rows_from_jsonl(io.BytesIO(good + line)))
