from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from lineup_lab.classification import (
    classification_from_sources,
    leave_one_out_from_sources,
)
from lineup_lab.dataset import ProtocolOptions
from lineup_lab.fit_classifier import logistic_fit
from lineup_lab.report import (
    document_from_classification,
    table_from_classification,
)

OPTIONS = ProtocolOptions(real=("photo",), resamples=100)
FIT = logistic_fit("ab12")


@pytest.fixture
def sources(make_source):
    return [
        make_source(name, 20, direction=i, noise=1) for i, name in enumerate(["a", "b", "photo"])
    ]


def document(result, sources, unknown):
    return document_from_classification(
        result,
        sources,
        OPTIONS,
        unknown=unknown,
        classifier={"name": "logistic", "reject": 0},
        fingerprint_digest="ab12",
        seconds=1.5,
    )


def text_of(result):
    stream = io.StringIO()
    Console(file=stream, width=100).print(table_from_classification(result, OPTIONS.real))
    return stream.getvalue()


def test_keys_of_the_document_are_an_interface(sources):
    result = classification_from_sources(sources, OPTIONS, FIT)

    made = document(result, sources, ())

    assert set(made) == {
        "protocol", "accuracy", "top3", "oscr", "auroc_unknown", "accuracy_ci", "top3_ci",
        "per_source", "confusion", "n", "seconds", "unit", "leave_one_out", "rounds", "unknown",
        "real", "images", "classifier", "support", "seed", "bootstrap", "failed", "fingerprint",
        "lineup",
    }  # fmt: skip
    assert made["protocol"] == "closed-set"
    assert made["oscr"] is None
    assert made["per_source"]["a"] == {
        "role": "known",
        "accuracy": result.per_source["a"].figures.accuracy,
        "top3": 100.0,
        "oscr": None,
        "auroc_unknown": None,
        "n": 10,
    }
    assert sum(made["confusion"]["photo"].values()) == 10
    assert set(made["confusion"]["photo"]) == {"a", "b", "real"}
    assert json.loads(json.dumps(made, allow_nan=False)) == made


def test_open_set_has_figures_and_intervals_of_the_unknown(sources):
    result = classification_from_sources(sources, OPTIONS, FIT, unknown=["b"])

    made = document(result, sources, ["b"])

    assert made["protocol"] == "open-set"
    assert 0 <= made["oscr_ci"][0] <= made["oscr"] <= made["oscr_ci"][1] <= 100
    assert made["oscr"] <= made["auroc_unknown"]
    assert made["per_source"]["b"]["role"] == "unknown"
    assert made["per_source"]["b"]["accuracy"] is None
    assert made["unknown"] == ["b"]
    assert made["rounds"] == {}


def test_rounds_are_kept_when_each_source_is_left_out(make_source):
    sources = [make_source(name, 20, direction=i) for i, name in enumerate(["a", "b", "photo"])]
    result = leave_one_out_from_sources(sources, OPTIONS, FIT)

    made = document(result, sources, ["a", "b"])

    assert made["leave_one_out"]
    assert list(made["rounds"]) == ["a", "b"]
    assert made["rounds"]["a"]["oscr"] == made["per_source"]["a"]["oscr"]
    assert json.loads(json.dumps(made, allow_nan=False)) == made


def test_tables_show_what_there_is(sources):
    closed = text_of(classification_from_sources(sources, OPTIONS, FIT))
    result = classification_from_sources(sources, OPTIONS, FIT, unknown=["b"])
    opened = text_of(result)
    in_turn = text_of(leave_one_out_from_sources(sources, OPTIONS, FIT))

    assert "Closed set" in closed
    assert "OSCR" not in closed
    assert "b (unknown)" in opened
    assert f"{result.figures.oscr:.1f}" in opened
    assert "left out" in in_turn
    assert "OSCR" in in_turn
    assert "95 % intervals: accuracy" in closed
