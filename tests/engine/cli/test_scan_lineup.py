"""`lineup scan` by a lineup; all models are toys."""

import csv
import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from lineup.attribution import opening as opening_module
from lineup.cli.scan import scan
from lineup.errors import UsageError
from lineup.evidence.resynthesis import Resynthesizer
from lineup.lineups.models import ResynthesisModels
from lineup.lineups.spec import CandidateSpec, LineupSpec
from lineup.lineups.store import create_lineup
from lineup.planning import budget as budget_module
from lineup.planning.plan import MemoryPlan, Order
from lineup.scan.lineup_encoding import FURTHER_KEYS

pytestmark = pytest.mark.usefixtures("colour_engine")
REDRAWN = ("--lineup", "toy", "--evidence", "fingerprint,resynthesis")


@pytest.fixture
def opened(monkeypatch, toy_generators, toy_captioner, toy_encoder):
    """How the models of the lineup "toy" were opened."""
    candidates = (CandidateSpec("reds", "bundle-of-reds"), CandidateSpec("blues", "b"))
    create_lineup(LineupSpec("toy", captioner="c", encoder="e", candidates=candidates))
    opened = []

    def models(lineup, engine, evidence, **options):
        opened.append(options | {"evidence": evidence})
        resynthesizer = Resynthesizer(
            toy_generators,
            captioner=toy_captioner,
            encoder=toy_encoder,
            fingerprinter=engine.extractor,
        )
        return ResynthesisModels(resynthesizer)

    monkeypatch.setattr(opening_module, "_models", models)
    return opened


@pytest.fixture
def planned(monkeypatch):
    """What the planner was asked; it answers stage-major, two images at a time."""
    asked = []

    def plan_for_lineup(lineup, **given):
        asked.append(given)
        return MemoryPlan(Order.STAGE_MAJOR, 2, 0, 0, 0.0, (), ("weights are read again",))

    monkeypatch.setattr(budget_module, "plan_for_lineup", plan_for_lineup)
    return asked


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(4)
    for index in range(3):
        pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        (tmp_path / f"{index}.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return tmp_path


def run(*arguments):
    result = CliRunner().invoke(scan, [str(one) for one in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def rows(text):
    """Rows without their times."""
    found = [json.loads(line) for line in text.splitlines()]
    return [{key: row[key] for key in row if key != "ms"} for row in found]


def test_a_row_has_all_evidence(opened, folder):
    found = rows(run(folder, *REDRAWN, "--gamma", 2).stdout)

    assert len(found) == 3
    for row in found:
        assert list(row["evidence"]) == ["fingerprint", "resynthesis", "resynthesis-fingerprint"]
        assert row["caption"] == "a plain colour"
        assert set(FURTHER_KEYS) <= set(row)
    assert opened[0]["keep"]


def test_both_orders_give_the_same_rows(opened, planned, folder):
    plain = run(folder, *REDRAWN)
    staged = run(folder, *REDRAWN, "--order", "stage-major", "--memory-budget", "1GiB")

    assert rows(staged.stdout) == rows(plain.stdout)
    assert "note: weights are read again" in staged.stderr
    assert [one["keep"] for one in opened] == [True, False]
    assert planned[0]["budget_bytes"] == 2**30
    assert planned[0]["order"] is Order.STAGE_MAJOR
    assert planned[0]["reading_bytes"] == 2**26


def test_a_lineup_by_its_fingerprints(opened, folder, toy_captioner):
    found = rows(run(folder, "--lineup", "toy").stdout)

    assert [list(row["evidence"]) for row in found] == [["fingerprint"]] * 3
    assert toy_captioner.calls == 0


def test_the_cascade_leaves_out_and_says_so(opened, folder, toy_captioner):
    found = rows(run(folder, *REDRAWN, "--stop-margin", 0.0001).stdout)

    assert [list(row["evidence"]) for row in found] == [["fingerprint"]] * 3
    assert all("decided by the fingerprint" in row["verdict_notes"][-1] for row in found)
    assert toy_captioner.calls == 0


def test_a_scan_is_resumed(opened, folder, tmp_path):
    target = tmp_path / "rows.csv"
    run(folder / "0.png", *REDRAWN, "-o", target)
    run(folder, *REDRAWN, "-o", target, "--resume")

    with target.open() as stream:
        found = list(csv.DictReader(stream))
    assert [row["path"][-5:] for row in found] == ["0.png", "1.png", "2.png"]
    assert all(row["caption"] == "a plain colour" for row in found)


def test_a_scan_with_another_question_is_not_resumed(opened, folder, tmp_path):
    target = tmp_path / "rows.jsonl"
    run(folder, *REDRAWN, "-o", target)

    with pytest.raises(UsageError, match="rows of run"):
        run(folder, *REDRAWN, "-o", target, "--resume", "--cascade")


@pytest.mark.parametrize(
    "option", [("--gamma", 2), ("--memory-budget", "1GiB"), ("--cascade",), ("--no-cache",)]
)
def test_options_of_redrawing_need_its_evidence(folder, option):
    with pytest.raises(UsageError, match=f"{option[0]} is about redrawn images"):
        run(folder, *option)
