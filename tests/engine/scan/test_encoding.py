"""Rows as JSON lines and as a table, and back."""

import csv
import io
import json
import os

import pytest

from lineup.claims import Claim, ClaimKind, Origin
from lineup.results import Attribution, Evidence, RowError, StageTimes, Verdict
from lineup.scan.encoding import CsvEncoder, JsonlEncoder, RowFormatError

RUN = "0" * 12
MIDDLE = (
    "posterior.blues", "posterior.reds", "posterior.generated", "posterior.photograph",
    "fingerprint.score.blues", "fingerprint.score.reds",
    "fingerprint.llr.blues", "fingerprint.llr.reds",
)  # fmt: skip


@pytest.fixture
def table(engine):
    return CsvEncoder(engine.columns())


def verdict(posterior, **given):
    scores = {"reds": -0.5, "blues": 0.25}
    evidence = Evidence("fingerprint", scores, scores, 1.0, ("tiny",))
    return Verdict(next(iter(posterior)), posterior, (evidence,), **given)


def cells(encoder, row):
    text = (encoder.header + encoder.bytes_from_row(row)).decode()
    (record,) = csv.DictReader(io.StringIO(text, newline=""))
    return record


def test_a_line_is_one_line_of_ascii():
    row = Attribution(path="süß\u2028\n.png", run=RUN, error=RowError("E", "a\nb"))
    line = JsonlEncoder().bytes_from_row(row)

    assert line.startswith(JsonlEncoder.beginning)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert line.isascii()
    assert json.loads(line) == row.to_dict()


def test_a_path_that_is_not_utf8_comes_back_exactly():
    path = os.fsdecode(b"caf\xe9.png")
    line = JsonlEncoder().bytes_from_row(Attribution(path, RUN, sha256="ab"))
    (stored,) = JsonlEncoder().stored_rows(io.BytesIO(line))

    assert os.fsencode(stored.path) == b"caf\xe9.png"


@pytest.mark.parametrize("line", [b"{}\n", b"[]\n", b"nonsense\n", b"\n", b"\x89PNG\r\n", b"3\n"])
def test_a_line_that_is_no_row_is_named(line):
    good = JsonlEncoder().bytes_from_row(Attribution("a.png", RUN))

    with pytest.raises(RowFormatError, match="line 2"):
        list(JsonlEncoder().stored_rows(io.BytesIO(good + line)))


def test_columns_are_known_before_the_first_row(table):
    assert table.columns == (
        "path", "sha256", "bytes", "format", "width", "height", "verdict", "confidence",
        *MIDDLE,
        "family", "candidates_set", "caption", "verdict_notes", "origin", "disagreement",
        "ms.read", "ms.decode", "ms.preprocess", "ms.inference", "ms.fuse",
        "notes", "error", "error_type", "lineup", "run",
    )  # fmt: skip


def test_claims_are_one_cell_that_is_no_formula(table):
    claims = (
        Claim("png", ClaimKind.GENERATED, "unsigned", "X"),
        Claim("exif", ClaimKind.CAPTURED, "unsigned", "Y"),
    )
    given = verdict({"reds": 0.5, "blues": 0.25, "generated": 0.125, "photograph": 0.125})
    record = cells(table, Attribution("a", RUN, verdict=given, origin=Origin(claims)))

    assert record["origin"] == "made with X, unsigned; photographed with Y, unsigned"
    assert record["disagreement"].startswith("the file declares a camera's picture")
    assert cells(table, Attribution("a", RUN, verdict=given))["origin"] == ""


def test_a_row_is_flat(table):
    posterior = {"reds": 0.5, "blues": 0.25, "generated": 0.125, "photograph": 0.125}
    given = verdict(
        posterior, family=("reds", "blues"), caption="=a plain colour", notes=("a", "b")
    )
    row = Attribution("a.png", RUN, verdict=given, ms=StageTimes(read=1.0), notes=("x", "y, z"))
    record = cells(table, row)

    assert record["confidence"] == "0.5"
    assert record["posterior.generated"] == "0.125"
    assert record["fingerprint.score.reds"] == "-0.5"  # a number, not text with an apostrophe
    assert record["fingerprint.llr.blues"] == "0.25"
    assert (record["ms.read"], record["ms.decode"], record["error"]) == ("1.0", "", "")
    assert record["notes"] == "x; y, z; tiny"
    assert (record["family"], record["verdict_notes"]) == ("reds; blues", "a; b")
    assert record["caption"] == "'=a plain colour"


def test_an_undetermined_row_has_an_empty_cell_for_its_confidence(table):
    verdict = Verdict("undetermined", {"reds": 0.25, "generated": 0.25, "photograph": 0.5})
    record = cells(table, Attribution("a.png", RUN, verdict=verdict))

    assert (record["verdict"], record["confidence"]) == ("undetermined", "")


def test_a_value_without_a_column_is_a_bug(table):
    with pytest.raises(ValueError, match=r"posterior\.greens"):
        table.bytes_from_row(Attribution("a.png", RUN, verdict=verdict({"greens": 1.0})))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_can_become_a_formula(table, start):
    error, notes = RowError("E", f"{start}bad"), (f"{start}note",)
    record = cells(table, Attribution(f"{start}x.png", RUN, error=error, notes=notes))

    assert record["path"] == f"./{start}x.png"
    assert record["error"] == f"'{start}bad"
    assert record["notes"] == f"'{start}note"


def test_a_path_that_is_not_utf8_is_escaped_in_a_table(table):
    data = table.bytes_from_row(Attribution(os.fsdecode(b"caf\xe9.png"), RUN))

    assert data.decode("utf-8").startswith("caf\\udce9.png,")


@pytest.mark.parametrize("is_table", [True, False])
def test_a_partial_last_record_is_left_out_wherever_it_was_cut(table, is_table):
    encoder = table if is_table else JsonlEncoder()
    first = encoder.bytes_from_row(Attribution('a "b"\nc.png', RUN, sha256="ab"))
    error = RowError("E", 'line\n"quoted"\n')
    second = encoder.bytes_from_row(Attribution("d\n.png", RUN, error=error))
    kept = len(encoder.header + first)
    whole = encoder.header + first + second

    for cut in range(kept, len(whole)):
        (stored,) = encoder.stored_rows(io.BytesIO(whole[:cut]))
        assert (stored.path, stored.sha256, stored.end) == ('a "b"\nc.png', "ab", kept)
    *_, last = encoder.stored_rows(io.BytesIO(whole))
    assert (last.path, last.sha256, last.is_failed, last.end) == ("d\n.png", None, True, len(whole))


def test_other_columns_are_refused(table, fakes):
    other = CsvEncoder(fakes["fake_engine"](sources={"greens": (0, 1, 0)}).columns())

    with pytest.raises(RowFormatError, match="the header"):
        list(table.stored_rows(io.BytesIO(other.header)))


@pytest.mark.parametrize("record", [b"a,b\n", b"\xff\n", b'"a"b,c\n'])
def test_a_record_that_is_no_row_is_named(table, record):
    data = table.header + table.bytes_from_row(Attribution("a.png", RUN)) + record

    with pytest.raises(RowFormatError, match="record 3"):
        list(table.stored_rows(io.BytesIO(data)))
