import csv
import io
import os

import pytest

from lineup.results import Evidence, Verdict
from lineup.scan.csv_table import CsvEncoder, columns_from_engine, stored_rows_from_csv
from lineup.scan.encoding import RowFormatError
from lineup.scan.rows import Row, RowError, StageTimes

RUN = "0" * 12


@pytest.fixture
def encoder(engine):
    return CsvEncoder(columns_from_engine(engine))


def verdict(posterior):
    scores = {"reds": -0.5, "blues": 0.25}
    return Verdict(
        next(iter(posterior)), posterior, (Evidence("fingerprint", scores, scores, 1.0, ("tiny",)),)
    )


def cells(encoder, row):
    text = (encoder.header() + encoder.bytes_from_row(row)).decode()
    (record,) = csv.DictReader(io.StringIO(text, newline=""))
    return record


def test_columns_are_known_before_the_first_row(engine):
    assert columns_from_engine(engine) == (
        "path", "sha256", "bytes", "format", "width", "height", "verdict", "confidence",
        "posterior.reds", "posterior.blues", "posterior.unknown", "posterior.real",
        "fingerprint.score.reds", "fingerprint.score.blues",
        "fingerprint.llr.reds", "fingerprint.llr.blues",
        "ms.read", "ms.decode", "ms.preprocess", "ms.inference", "ms.fuse",
        "notes", "error", "error_type", "lineup", "run",
    )  # fmt: skip


def test_a_row_is_flat(encoder):
    posterior = {"reds": 0.5, "blues": 0.25, "unknown": 0.125, "real": 0.125}
    row = Row(
        "a.png", RUN, verdict=verdict(posterior), ms=StageTimes(read=1.0), notes=("x", "y, z")
    )
    record = cells(encoder, row)

    assert record["posterior.unknown"] == "0.125"
    assert record["fingerprint.score.reds"] == "-0.5"  # a number, not text with an apostrophe
    assert record["fingerprint.llr.blues"] == "0.25"
    assert (record["ms.read"], record["ms.decode"], record["error"]) == ("1.0", "", "")
    assert record["notes"] == "x; y, z; tiny"


def test_a_value_without_a_column_is_a_bug(encoder):
    with pytest.raises(ValueError, match=r"posterior\.greens"):
        encoder.bytes_from_row(Row("a.png", RUN, verdict=verdict({"greens": 1.0})))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_can_become_a_formula(encoder, start):
    row = Row(f"{start}x.png", RUN, error=RowError("E", f"{start}bad"), notes=(f"{start}note",))
    record = cells(encoder, row)

    assert record["path"] == f"./{start}x.png"
    assert record["error"] == f"'{start}bad"
    assert record["notes"] == f"'{start}note"


def test_a_path_that_is_not_utf8_is_escaped(encoder):
    data = encoder.bytes_from_row(Row(os.fsdecode(b"caf\xe9.png"), RUN))

    assert data.decode("utf-8").startswith("caf\\udce9.png,")


def test_a_partial_last_record_is_left_out_wherever_it_was_cut(encoder):
    first = encoder.bytes_from_row(Row('a "b"\nc.png', RUN, sha256="ab"))
    second = encoder.bytes_from_row(Row("d\n.png", RUN, error=RowError("E", 'line\n"quoted"\n')))
    kept = len(encoder.header() + first)
    whole = encoder.header() + first + second

    for cut in range(kept, len(whole)):
        (stored,) = stored_rows_from_csv(io.BytesIO(whole[:cut]), encoder.header())
        assert (stored.path, stored.sha256, stored.end) == ('a "b"\nc.png', "ab", kept)
    *_, last = stored_rows_from_csv(io.BytesIO(whole), encoder.header())
    assert (last.path, last.sha256, last.is_failed, last.end) == ("d\n.png", None, True, len(whole))


def test_other_columns_are_refused(encoder, fakes):
    other = CsvEncoder(columns_from_engine(fakes["FakeEngine"](sources={"greens": (0, 1, 0)})))

    with pytest.raises(RowFormatError, match="the header"):
        list(stored_rows_from_csv(io.BytesIO(other.header()), encoder.header()))


@pytest.mark.parametrize("record", [b"a,b\n", b"\xff\n", b'"a"b,c\n'])
def test_a_record_that_is_no_row_is_named(encoder, record):
    data = encoder.header() + encoder.bytes_from_row(Row("a.png", RUN)) + record

    with pytest.raises(RowFormatError, match="record 3"):
        list(stored_rows_from_csv(io.BytesIO(data), encoder.header()))
