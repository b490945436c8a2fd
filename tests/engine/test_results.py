"""The one row: what an attribution says as JSON values, and the schema that documents it."""

import json
import math
import pickle
from dataclasses import replace

import jsonschema
import pytest

from lineup._version import __version__
from lineup.claims import Claim, ClaimKind, Origin
from lineup.errors import UnreadableImageError
from lineup.paths import shipped_dir
from lineup.results import Attribution, Evidence, RowError, StageTimes, Verdict

SCHEMA = json.loads((shipped_dir() / "row.schema.json").read_text())
RUN = "0" * 12


def row(**given):
    return Attribution(**{"path": "x.png", "run": RUN} | given)


def check(record):
    """Check a row against the schema; its keys come in the order of the schema."""
    jsonschema.validate(record, SCHEMA)
    assert list(record) == SCHEMA["required"] == list(SCHEMA["properties"])


def test_every_key_is_present_in_an_error_row():
    error = RowError.from_exception(UnreadableImageError("x.png is empty", hint="Look at it."))
    record = row(error=error, ms=StageTimes(read=0.25)).to_dict()

    check(record)
    message = "x.png is empty. Look at it."
    assert record["error"] == {"type": "UnreadableImageError", "message": message}
    assert record["ms"] == {
        "read": 0.25, "decode": None, "preprocess": None, "inference": None, "fuse": None,
    }  # fmt: skip
    empty = ["verdict", "posterior", "evidence", "sha256", "family", "caption", "verdict_notes"]
    assert {record[key] for key in empty} == {None}
    assert record["lineup"] == __version__


def test_what_is_declared_stands_beside_the_verdict_and_apart_from_it():
    claim = Claim("png", ClaimKind.GENERATED, "unsigned text", "X", excludes=("a", "b"))
    verdict = Verdict("a", {"a": 0.75, "generated": 0.25})
    origin = Origin((claim,), ("a note",))
    record = row(verdict=verdict, origin=origin).to_dict()

    check(record)
    assert record["posterior"] == row(verdict=verdict).to_dict()["posterior"]
    assert record["origin"] == {
        "statement": "The file declares: made with X, unsigned text.",
        "claims": [claim.to_dict()],
        "notes": ["a note"],
        "disagreement": "the file declares X, its pixels speak for a",
    }
    assert row(verdict=verdict).to_dict()["origin"] is None
    assert row(verdict=replace(verdict, family=("a", "c")), origin=origin).disagreement is None
    assert row(verdict=replace(verdict, label="undetermined"), origin=origin).disagreement is None


def test_a_verdict_is_flattened():
    evidence = Evidence("fingerprint", {"a": 0.123456789}, {"a": -1.5}, 3.0, ("small",))
    verdict = Verdict(
        "a", {"a": 0.75, "generated": 0.25}, (evidence,), family=("a", "b"), caption="a hat"
    )
    record = row(verdict=verdict, width_px=3, notes=("grey",)).to_dict()

    check(record)
    assert (record["verdict"], record["confidence"]) == ("a", 0.75)
    assert record["posterior"] == {"a": 0.75, "generated": 0.25}
    assert record["evidence"] == {
        "fingerprint": {
            "scores": {"a": 0.1234568},
            "llr": {"a": -1.5},
            "samples": {},
            "channel": None,
            "nearest": [],
            "in_words": None,
            "cost_ms": 3.0,
            "notes": ["small"],
        }
    }
    assert (record["family"], record["caption"], record["candidates_set"]) == (
        ["a", "b"],
        "a hat",
        [],
    )


def test_an_undetermined_row_has_no_confidence():
    posterior = {"a": 0.2, "generated": 0.3, "photograph": 0.5}
    record = row(verdict=Verdict("undetermined", posterior)).to_dict()

    check(record)
    assert (record["verdict"], record["confidence"]) == ("undetermined", None)
    assert record["posterior"] == posterior


@pytest.mark.parametrize("changes", [{"verdict": "a"}, {"error": {"type": "E", "message": "m"}}])
def test_the_schema_refuses_a_row_with_neither_or_both(changes):
    verdict = Verdict("a", {"a": 1.0}, ())
    whole = row(verdict=verdict).to_dict()
    neither = row().to_dict()
    wrong = {**whole, **changes} if "error" in changes else {**neither, "verdict": None}

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, SCHEMA)


def test_numbers_that_json_does_not_have_become_null():
    evidence = Evidence("fingerprint", {"a": math.nan}, {"a": -math.inf}, 0.0)
    record = row(verdict=Verdict("a", {"a": 1.0}, (evidence,))).to_dict()

    assert record["evidence"]["fingerprint"]["scores"] == {"a": None}
    assert record["evidence"]["fingerprint"]["llr"] == {"a": None}
    json.dumps(record, allow_nan=False)


def test_small_probabilities_are_not_rounded_away():
    verdict = Verdict("a", {"a": 1 - 1e-12, "b": 1e-12}, ())

    assert row(verdict=verdict).to_dict()["posterior"]["b"] == 1e-12


def test_an_error_without_words_and_one_with_too_many():
    assert RowError.from_exception(MemoryError()).message == "MemoryError()"
    assert len(RowError.from_exception(ValueError("x" * 10**6)).message) == 2000


def test_an_answer_can_be_sent_to_another_process():
    whole = row(verdict=Verdict("a", {"a": 1.0}, ()), ms=StageTimes(read=1.0))

    assert pickle.loads(pickle.dumps(whole)) == whole
