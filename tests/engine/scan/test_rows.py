import json
import math

from lineup._version import __version__
from lineup.errors import UnreadableImageError
from lineup.results import Evidence, Verdict
from lineup.scan.rows import Row, StageTimes, record_from_row, row_error_from_exception

KEYS = [
    "path", "sha256", "bytes", "format", "width", "height", "verdict", "confidence", "posterior",
    "evidence", "ms", "notes", "error", "lineup", "run",
]  # fmt: skip


def test_every_key_is_present_in_an_error_row():
    error = row_error_from_exception(UnreadableImageError("x.png is empty", hint="Look at it."))
    record = record_from_row(Row(path="x.png", run="0" * 12, error=error, ms=StageTimes(read=0.25)))

    assert list(record) == KEYS
    assert record["error"] == {"type": "UnreadableImageError", "message": "x.png is empty"}
    assert record["ms"] == {
        "read": 0.25, "decode": None, "preprocess": None, "inference": None, "fuse": None,
    }  # fmt: skip
    assert (
        record["verdict"] is record["posterior"] is record["evidence"] is record["sha256"] is None
    )
    assert record["lineup"] == __version__


def test_a_verdict_is_flattened():
    evidence = Evidence("fingerprint", {"a": 0.123456789}, {"a": -1.5}, 3.0, ("small",))
    verdict = Verdict("a", {"a": 0.75, "unknown": 0.25}, (evidence,))
    record = record_from_row(Row(path="x.png", run="0" * 12, verdict=verdict, width_px=3))

    assert list(record) == KEYS
    assert (record["verdict"], record["confidence"]) == ("a", 0.75)
    assert record["posterior"] == {"a": 0.75, "unknown": 0.25}
    assert record["evidence"] == {
        "fingerprint": {"scores": {"a": 0.1234568}, "llr": {"a": -1.5}, "notes": ["small"]}
    }


def test_numbers_that_json_does_not_have_become_null():
    evidence = Evidence("fingerprint", {"a": math.nan}, {"a": -math.inf}, 0.0)
    record = record_from_row(Row("x", "0" * 12, verdict=Verdict("a", {"a": 1.0}, (evidence,))))

    assert record["evidence"]["fingerprint"]["scores"] == {"a": None}
    assert record["evidence"]["fingerprint"]["llr"] == {"a": None}
    json.dumps(record, allow_nan=False)


def test_small_probabilities_are_not_rounded_away():
    verdict = Verdict("a", {"a": 1 - 1e-12, "b": 1e-12}, ())

    assert record_from_row(Row("x", "0" * 12, verdict=verdict))["posterior"]["b"] == 1e-12


def test_an_error_without_words_and_one_with_too_many():
    assert row_error_from_exception(MemoryError()).message == "MemoryError()"
    assert len(row_error_from_exception(ValueError("x" * 10**6)).message) == 2000
