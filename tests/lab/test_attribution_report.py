import io
import json

import pytest
from rich.console import Console

from lineup.options import ResynthesisOptions
from lineup.results import GENERATED, PHOTOGRAPH, UNDETERMINED, Evidence, Verdict
from lineup_lab.attribution import Judge, Judged
from lineup_lab.attribution_report import (
    cost_from_rows,
    document_from_rows,
    reported_from_judged,
    seconds_at_gamma,
    sweep_from_rows,
    tables_from_document,
    whole_document,
)
from lineup_lab.scores import FINGERPRINTS_OF_PICTURES, RawScores, StageRecord

NAMES = ("a", "b")
ROLES = {"a": "a", "b": "b", "elm": GENERATED, "real": PHOTOGRAPH}
STAGES = {
    "fingerprint": StageRecord(100.0),
    "caption": StageRecord(50.0),
    "generate": StageRecord(800.0, calls=2, items=8),
    "encoder": StageRecord(90.0, calls=2, items=9),
    FINGERPRINTS_OF_PICTURES: StageRecord(80.0, calls=1, items=8),
}


def row(source, number, own, drawn, **changes):
    """Ratios by rule for `fingerprint`, and three resyntheses of which only the last tells."""
    samples = {name: (0.0, 0.0, drawn.get(name, 0.0)) for name in NAMES}
    evidence = (
        Evidence("fingerprint", {"a": 0.0}, own, 1.0),
        Evidence("resynthesis", {k: max(v) for k, v in samples.items()}, {}, 1.0, samples=samples),
    )
    settings = {"stages": STAGES, "graph_runs": {"unet": 8}, "seconds": 1.2}
    return RawScores(
        path=f"{source}/{number}.png",
        source=source,
        run="r",
        sha256=f"{source}{number}",
        evidence=evidence,
        **(settings | changes),
    )


ROWS = [
    row("a", 0, {"a": 9.0, "b": -9.0}, {"a": 5.0}),
    row("a", 1, {"b": 1.0}, {"a": 5.0}),
    row("b", 0, {"b": 9.0, "a": -9.0}, {"b": 5.0}),
    row("elm", 0, {"a": -9.0, "b": -9.0}, {}),
    row("real", 0, {"a": -9.0, "b": -9.0}, {}, stages={"encoder": StageRecord(1.0, 0, 0, 5)}),
]


@pytest.fixture
def judge():
    return Judge(
        candidates=NAMES,
        settings=ResynthesisOptions(gamma=3),
        evidence_options=lambda settings: {"resynthesis": {"gamma": settings.gamma}},
    )


@pytest.fixture
def report(judge):
    return document_from_rows(ROWS, ROLES, judge, resamples=100, seed=0)


def test_ablations_show_what_each_evidence_adds(report):
    sets = report["sets"]
    assert list(sets) == ["fingerprint", "resynthesis", "fingerprint + resynthesis"]
    assert sets["fingerprint"]["accuracy"] == pytest.approx(200 / 3)
    assert sets["resynthesis"]["accuracy"] == 100
    assert sets["fingerprint + resynthesis"].items() <= report.items()
    assert report["accuracy"] == 100


def test_the_document_has_the_keys_that_are_an_interface(report):
    document = json.loads(json.dumps(report, allow_nan=False))

    keys = {
        "accuracy", "top3", "oscr", "auroc_unknown", "ece", "per_source", "confusion",
        "seconds_per_image", "evidence",
    }  # fmt: skip
    assert keys <= set(document)
    assert document["unit"] == "percent"
    assert document["accuracy"] == 100
    assert 0 <= document["ece"] <= 1
    assert document["n"] == 5
    assert set(document["evidence"]) == {"fingerprint", "resynthesis"}
    assert document["without"]["resynthesis"] == document["evidence"]["fingerprint"]
    assert document["per_source"]["elm"]["role"] == GENERATED
    assert document["confusion"]["elm"] == {"a": 0, "b": 0, GENERATED: 0, UNDETERMINED: 1}
    assert len(document["oscr_ci"]) == 2
    whole = whole_document({"default": report}, [], lineup="toy")
    assert whole["modes"]["default"] == report
    assert (whole["lineup"], whole["mode"], whole["sweep"]) == ("toy", "default", [])
    assert whole["peak_memory_mib"] > 1


def test_time_is_taken_where_no_cache_helped(report):
    cost = report["cost"]

    assert cost["images"] == 4
    assert report["seconds_per_image"] == pytest.approx(1.2)
    assert cost["stages"]["generate"]["seconds"] == pytest.approx(0.8)
    assert cost["stages"]["generate"]["calls"] == 2
    assert cost["graph_runs"] == {"unet": 8}
    assert cost_from_rows(ROWS[-1:]) == {"images": 0, "stages": {}, "graph_runs": {}}


def test_time_of_fewer_resyntheses_leaves_what_does_not_depend_on_them(judge):
    # Pictures: 800 ms drawing, 80 of 90 ms encoding, 80 ms fingerprints.
    assert seconds_at_gamma(ROWS, 1.0) == pytest.approx(1.2)
    assert seconds_at_gamma(ROWS, 0.25) == pytest.approx(1.2 - 0.75 * 0.96)
    assert seconds_at_gamma(ROWS[-1:], 0.25) is None


def test_the_sweep_takes_the_first_resyntheses(judge):
    two, three = sweep_from_rows(ROWS, ROLES, judge, [2, 3])

    assert (two["gamma"], three["gamma"]) == (2, 3)
    # Ties go to a, the first.
    assert two["evidence"]["resynthesis"]["accuracy"] == pytest.approx(200 / 3)
    assert three["evidence"]["resynthesis"]["accuracy"] == 100
    assert list(two["evidence"])[-1] == "fingerprint + resynthesis"
    assert two["seconds_per_image"] < three["seconds_per_image"]
    assert three["accuracy"] == 100


def test_families_and_sets_are_counted():
    def verdict(label, family=(), chosen=()):
        return Verdict(label, {}, family=family, candidates_set=chosen)

    reported = reported_from_judged(
        Judged(
            NAMES,
            {"a": "a", "b": "b", "elm": GENERATED},
            {
                "a": [verdict("b", ("b", "a"), ("b", "a")), verdict("a", (), ("a",))],
                "b": [verdict("a", (), ("a",)), verdict(UNDETERMINED, (), (GENERATED, "b"))],
                "elm": [verdict(GENERATED, (), (GENERATED,)), verdict("a", ("a", "b"), ("a",))],
            },
        )
    )

    assert reported["named"] == 50
    assert reported["family"] == 25
    assert reported["family_right"] == 100
    assert reported["rejected"] == 50
    assert reported["coverage"] == pytest.approx(100 * 4 / 6)
    assert reported["set_size"] == pytest.approx(8 / 6)


def test_tables_say_it_for_people(report, judge):
    stream = io.StringIO()
    console = Console(file=stream, width=160)
    modes = {"default": report, "resynthesis": report}
    whole = whole_document(modes, sweep_from_rows(ROWS, ROLES, judge, [2, 3]))

    for table in tables_from_document(whole, {}):
        console.print(table)

    text = " ".join(stream.getvalue().split())  # captions break where the table ends
    assert "elm (generated)" in text
    assert "Verdicts name the candidate or its family" in text
    assert "fingerprint + resynthesis" in text
    assert "resynthesis" in text
    assert "resynthesis alone" in text
    assert "66.7 %" in text  # 800 of 1200 ms drawing
