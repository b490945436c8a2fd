from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from lineup._version import __version__
from lineup_lab.dataset import ProtocolOptions
from lineup_lab.report import (
    document_from_verification,
    table_from_attacks,
    table_from_verification,
)
from lineup_lab.verification import verification_from_sources


@pytest.fixture
def sources(make_source):
    return [
        make_source(name, 20, direction=i, noise=2) for i, name in enumerate(["a", "b", "photo"])
    ]


def document(sources, **options):
    chosen = ProtocolOptions(**{"resamples": 100, **options})
    result = verification_from_sources(sources, chosen)
    return result, document_from_verification(
        result, sources, chosen, fingerprint_digest="ab12", seconds=1.5
    )


def test_keys_of_the_document_are_an_interface(sources):
    result, made = document(sources, real=("photo",))

    assert set(made) == {
        "protocol", "sources", "auc_mean", "auc_ci", "n", "seconds",
        "unit", "pairs", "images", "real", "support", "seed", "bootstrap", "failed",
        "fingerprint", "lineup", "rule", "attacks",
    }  # fmt: skip
    assert list(made["sources"]) == ["a", "b"]
    assert list(made["sources"]["a"]) == ["auc_mean", "auc_sd", "auc_min"]
    assert made["protocol"] == "verification"
    assert made["auc_ci"] == list(result.auc_ci)
    assert made["n"] == 30
    assert made["seconds"] == 1.5
    assert made["unit"] == "percent"
    assert made["pairs"]["a"].keys() == {"b", "photo"}
    assert made["images"]["photo"] == {
        "support": 10, "queries": 10, "failed": 0, "duplicates": 0, "ambiguous": 0,
    }  # fmt: skip
    assert made["real"] == ["photo"]
    assert made["lineup"] == __version__
    assert json.loads(json.dumps(made, allow_nan=False)) == made


def test_figures_are_percentages(sources):
    _, made = document(sources)

    assert 50 < made["auc_mean"] <= 100
    assert made["auc_mean"] == pytest.approx(
        sum(source["auc_mean"] for source in made["sources"].values()) / 3
    )


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0.5, 0.5), (5, 5)],
)
def test_support_is_recorded_as_it_was_given(sources, size, expected):
    _, made = document(sources, support=size)

    assert made["support"] == expected
    assert type(made["support"]) is type(expected)


def test_table_has_a_row_per_source_and_the_mean(sources):
    result, made = document(sources, real=("photo",))
    stream = io.StringIO()

    Console(file=stream, width=100).print(table_from_verification(result))

    text = stream.getvalue()
    rows = {line.split("│")[1].strip(): line for line in text.splitlines() if line.startswith("│")}
    assert f"{made['sources']['a']['auc_mean']:.1f}" in rows["a"]
    assert f"{made['sources']['a']['auc_min']:.1f}" in rows["a"]
    assert min(result.pairs["a"], key=result.pairs["a"].get) in rows["a"].split("│")[5]
    assert "only a negative" in rows["photo"]
    assert f"{made['auc_mean']:.1f}" in rows["mean"]
    assert f"{made['auc_ci'][0]:.1f} to {made['auc_ci'][1]:.1f}" in text


def test_an_attack_has_the_figures_of_the_clean_run_under_its_name(sources):
    options = ProtocolOptions(resamples=100)
    clean = verification_from_sources(sources, options)
    queries = {s.name: s.fingerprints[clean.splits[s.name].queries][:, ::-1] for s in sources}
    attacked = verification_from_sources(sources, options, queries=queries)

    made = document_from_verification(
        clean,
        sources,
        options,
        fingerprint_digest="ab12",
        seconds=1.5,
        attacked={"flip:1": attacked},
    )

    assert made["auc_mean"] == clean.auc_mean
    assert list(made["attacks"]) == ["flip:1"]
    figures = made["attacks"]["flip:1"]
    assert list(figures) == ["sources", "auc_mean", "auc_ci"]
    assert figures["auc_mean"] == attacked.auc_mean != clean.auc_mean
    assert figures["sources"]["a"].keys() == made["sources"]["a"].keys()


def test_table_of_attacks_starts_with_the_clean_queries(sources):
    result, _ = document(sources)
    stream = io.StringIO()

    Console(file=stream, width=100).print(table_from_attacks(result, {"jpeg:90": result}))

    rows = [line.split("│") for line in stream.getvalue().splitlines() if line.startswith("│")]
    assert [row[1].strip() for row in rows] == ["clean", "jpeg:90"]
    assert rows[0][2:] == rows[1][2:]
    assert rows[0][-3].strip() == f"{result.auc_mean:.1f}"
