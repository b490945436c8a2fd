"""`lineup scan` by a lineup; all models are toys."""

import csv
import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from lineup.cli.scan import scan
from lineup.errors import UsageError
from lineup.planning import plan as plan_module
from lineup.planning.plan import MemoryPlan, Order

pytestmark = pytest.mark.usefixtures("colour_engine")
ALL_EVIDENCE = ("--lineup", "toy", "--evidence", "fingerprint,resynthesis")


@pytest.fixture
def planned(monkeypatch):
    """What the planner was asked; it answers stage-major, two images at a time."""
    asked = []

    def plan_for_lineup(lineup, **given):
        asked.append(given)
        return MemoryPlan(Order.STAGE_MAJOR, 2, 0, 0, 0.0, (), ("weights are read again",))

    monkeypatch.setattr(plan_module, "plan_for_lineup", plan_for_lineup)
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
    for row in found:
        row["ms"] = row["resynthesis"] = None
        for evidence in row["evidence"].values():
            evidence["cost_ms"] = None
    return found


def test_a_row_has_all_evidence(toy_lineup, folder):
    found = rows(run(folder, *ALL_EVIDENCE, "--gamma", 2).stdout)

    assert len(found) == 3
    for row in found:
        assert list(row["evidence"]) == ["fingerprint", "resynthesis", "resynthesis-fingerprint"]
        assert row["caption"] == "a plain colour"
    assert toy_lineup[0]["keep"]


def test_both_orders_give_the_same_rows(toy_lineup, planned, folder):
    plain = run(folder, *ALL_EVIDENCE)
    staged = run(folder, *ALL_EVIDENCE, "--order", "stage-major", "--memory-budget", "1GiB")

    assert rows(staged.stdout) == rows(plain.stdout)
    assert "note: weights are read again" in staged.stderr
    assert [one["keep"] for one in toy_lineup] == [True, False]
    assert planned[0]["budget_bytes"] == 2**30
    assert planned[0]["order"] is Order.STAGE_MAJOR
    assert planned[0]["reading_bytes"] == 2**26


@pytest.mark.parametrize(("order", "keeps"), [("stage-major", False), ("image-major", True)])
def test_an_order_without_a_budget_asks_for_no_costs(
    toy_lineup, planned, folder, monkeypatch, order, keeps
):
    monkeypatch.setattr(plan_module, "chunk_from_order", lambda *_, images, gamma: images)
    ordered = run(folder, *ALL_EVIDENCE, "--order", order)

    assert rows(ordered.stdout) == rows(run(folder, *ALL_EVIDENCE).stdout)
    assert toy_lineup[0]["keep"] is keeps
    assert not planned


def test_a_lineup_that_is_named_gives_all_its_evidence(toy_lineup, folder):
    assert rows(run(folder, "--lineup", "toy").stdout) == rows(run(folder, *ALL_EVIDENCE).stdout)


def test_a_lineup_by_its_fingerprints(toy_lineup, folder, toy_captioner):
    found = rows(run(folder, "--lineup", "toy", "--evidence", "fingerprint").stdout)

    assert [list(row["evidence"]) for row in found] == [["fingerprint"]] * 3
    assert toy_captioner.calls == 0


def test_the_cascade_leaves_out_and_says_so(toy_lineup, folder, toy_captioner):
    found = rows(run(folder, *ALL_EVIDENCE, "--stop-margin", 0.0001).stdout)

    assert [list(row["evidence"]) for row in found] == [["fingerprint"]] * 3
    assert all("decided by the fingerprint" in row["verdict_notes"][-1] for row in found)
    assert toy_captioner.calls == 0


def test_a_scan_is_resumed(toy_lineup, folder, tmp_path):
    target = tmp_path / "rows.csv"
    run(folder / "0.png", *ALL_EVIDENCE, "-o", target)
    run(folder, *ALL_EVIDENCE, "-o", target, "--resume")

    with target.open() as stream:
        found = list(csv.DictReader(stream))
    assert [row["path"][-5:] for row in found] == ["0.png", "1.png", "2.png"]
    assert all(row["caption"] == "a plain colour" for row in found)


def test_a_scan_with_another_question_is_not_resumed(toy_lineup, folder, tmp_path):
    target = tmp_path / "rows.jsonl"
    run(folder, *ALL_EVIDENCE, "-o", target)

    with pytest.raises(UsageError, match="rows of run"):
        run(folder, *ALL_EVIDENCE, "-o", target, "--resume", "--cascade")


@pytest.mark.parametrize(
    "option", [("--gamma", 2), ("--memory-budget", "1GiB"), ("--cascade",), ("--no-cache",)]
)
def test_options_of_resynthesis_need_its_evidence(folder, option):
    with pytest.raises(UsageError, match=f"{option[0]} is about resyntheses"):
        run(folder, *option)
