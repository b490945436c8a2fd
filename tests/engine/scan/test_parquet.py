import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from lineup.errors import LineupError, UsageError
from lineup.paths import shipped_dir
from lineup.results import Attribution, Evidence, RowError, StageTimes, Verdict
from lineup.scan import parquet
from lineup.scan.arrow import records_from_table, row_schema, table_from_records
from lineup.scan.encoding import JsonlEncoder, RowFormat
from lineup.scan.output import OutputMode, open_output
from lineup.stream import StreamOptions

pq = pytest.importorskip("pyarrow.parquet", reason="needs the extra parquet")

RUN = "0" * 12
ROW = Attribution(
    "a.png",
    RUN,
    sha256="a" * 64,
    size_bytes=2**40,
    width_px=8,
    verdict=Verdict(
        "reds",
        {"reds": 1.0, "a": 0.25},
        (
            Evidence("fingerprint", {"reds": float("nan")}, {"reds": 1.5}, 2, nearest=("x.png",)),
            Evidence("resynthesis", {"reds": 0.5}, {}, 2, samples={"reds": (1, 0.1)}),
        ),
        family=("reds", "a"),
    ),
    ms=StageTimes(read=0.123),
    notes=("first of 12 frames",),
)
FAILED = Attribution("b.png", RUN, sha256="b" * 64, error=RowError("ImageError", "b.png: bad"))
ROWS = [ROW, FAILED, replace(ROW, path="c.png")]


def as_json(rows):
    return [json.loads(json.dumps(row.to_dict())) for row in rows]


def rows_of(path):
    return list(records_from_table(pq.read_table(path)))


@pytest.fixture
def write(tmp_path):
    path = tmp_path / "r.parquet"

    def write(rows, mode=OutputMode.CREATE, run=RUN):
        with open_output(str(path), mode, None, row_format=RowFormat.PARQUET) as output:
            output.begin(JsonlEncoder(), run)
            for row in rows:
                if isinstance(row, BaseException):
                    raise row
                if not output.done.holds(row.path, row.sha256):
                    output.write(row)

    write.path = path
    write.rows = Path(f"{path}.jsonl")
    return write


def test_rows_come_back_as_they_were():
    back = list(records_from_table(table_from_records([row.to_dict() for row in ROWS])))

    assert back == as_json(ROWS)
    assert [list(row) for row in back] == [list(row) for row in as_json(ROWS)]


def test_the_schema_has_every_key_of_a_row():
    schema = json.loads((shipped_dir() / "row.schema.json").read_text())
    evidence = as_json([ROW])[0]["evidence"]["fingerprint"]

    assert row_schema().names == list(ROW.to_dict())
    assert set(row_schema().names) == set(schema["properties"])
    assert [one.name for one in row_schema().field("evidence").type.item_type] == list(evidence)


def test_the_rows_of_a_real_scan_come_back(engine, mixed_folder):
    rows = [one.to_dict() for one in engine.scan(mixed_folder, reading=StreamOptions())]

    assert list(records_from_table(table_from_records(rows))) == rows
    assert any(row["error"] for row in rows)


def test_a_path_that_is_no_utf8_is_written_as_its_escape(write):
    write([replace(FAILED, path="\udcff.png")])

    assert rows_of(write.path)[0]["path"] == "\\udcff.png"


def test_the_file_is_there_when_the_scan_is_over_and_alone(write, monkeypatch):
    monkeypatch.setattr(parquet, "GROUP_ROWS", 2)
    write(ROWS)

    assert rows_of(write.path) == as_json(ROWS)
    assert pq.ParquetFile(write.path).num_row_groups == 2
    assert list(write.path.parent.iterdir()) == [write.path]


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), RuntimeError()])
def test_a_stopped_scan_leaves_rows_to_go_on_with_and_no_file(write, stop):
    with pytest.raises(type(stop)):
        write([*ROWS[:2], stop])
    assert not write.path.exists()
    with write.rows.open("ab") as stream:  # killed in the middle of a row
        stream.write(b'{"path": "c')

    with pytest.raises(UsageError, match="exists already") as caught:
        write(ROWS)
    assert "--resume" in caught.value.hint
    write(ROWS, OutputMode.RESUME)

    assert rows_of(write.path) == as_json(ROWS)
    assert not write.rows.exists()


def test_a_finished_file_is_resumed(write):
    write(ROWS[:2])

    write([replace(ROW, path="b.png", sha256="b" * 64), ROWS[2]], OutputMode.RESUME)

    assert [(row["path"], row["verdict"]) for row in rows_of(write.path)] == [
        ("a.png", "reds"),
        ("b.png", "reds"),
        ("c.png", "reds"),
    ]
    assert list(write.path.parent.iterdir()) == [write.path]


def test_a_scan_killed_while_it_is_converted_is_whole_after_the_next(write, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(parquet, "table_from_records", full)
        with pytest.raises(LineupError, match="No space left") as caught:
            write(ROWS)
    assert "--resume" in caught.value.hint
    assert list(write.path.parent.iterdir()) == [write.rows]

    write([], OutputMode.RESUME)

    assert rows_of(write.path) == as_json(ROWS)


def test_what_is_there_is_replaced_by_rows_alone(write):
    write(ROWS)

    with pytest.raises(UsageError, match=re.escape(f"{write.path} exists already")):
        write(ROWS)
    write([], OutputMode.OVERWRITE)
    assert len(rows_of(write.path)) == 3
    write(ROWS[:1], OutputMode.OVERWRITE)
    assert len(rows_of(write.path)) == 1


def test_rows_of_another_run_are_refused_and_nothing_is_left_behind(write):
    write(ROWS)

    with pytest.raises(UsageError, match="this is run 111111111111"):
        write(ROWS, OutputMode.RESUME, run="1" * 12)
    assert list(write.path.parent.iterdir()) == [write.path]


@pytest.mark.parametrize("content", [b"precious", b"PAR1"])
def test_a_foreign_file_is_left_alone(write, content):
    write.path.write_bytes(content)

    for mode, message in (
        (OutputMode.OVERWRITE, "does not hold the rows"),
        (OutputMode.RESUME, "cannot be resumed"),
    ):
        with pytest.raises(UsageError, match=message):
            write(ROWS, mode)
    assert [one.read_bytes() for one in write.path.parent.iterdir()] == [content]


def test_a_foreign_table_is_left_alone(write):
    pq.write_table(row_schema().empty_table().select(["path"]), write.path)

    with pytest.raises(UsageError, match="not those of a scan"):
        write(ROWS, OutputMode.RESUME)


def test_parquet_is_no_stream(tmp_path):
    with pytest.raises(UsageError, match="written to a file"):
        open_output("-", OutputMode.CREATE, None, row_format=RowFormat.PARQUET)
