"""Once a source is enrolled, every way to ask answers alike, image by image."""

import json

import cv2
import pytest
from click.testing import CliRunner

import lineup
from lineup.classifier import read_classifier
from lineup.cli.attribute import attribute
from lineup.cli.classify import classify
from lineup.cli.enroll import enroll
from lineup.cli.scan import scan
from lineup.cli.verify import verify
from lineup_lab.cli.fit_open_set import fit_open_set
from lineup_models.samples import SOURCES, draw_image

NAME = "sketch"
SUPPORT, QUERIES, OTHERS = 30, 20, 4


def draw(folder, source, seeds):
    folder.mkdir()
    for seed in seeds:
        cv2.imwrite(str(folder / f"{seed:04}.png"), draw_image(source, seed)[..., ::-1])
    return folder


def run(command, *arguments):
    result = CliRunner().invoke(command, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result.stdout


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def queries(tmp_path_factory):
    """Images of the new source, and of none."""
    root = tmp_path_factory.mktemp("agreement")
    draw(root / "support", SOURCES[0], range(1000, 1000 + SUPPORT))
    draw(root / "mine", SOURCES[0], range(QUERIES))
    draw(root / "others", SOURCES[2], range(OTHERS))
    return root


def test_all_commands_and_python_agree_about_a_source_that_was_enrolled(
    queries, tmp_path, monkeypatch
):
    monkeypatch.setenv("LINEUP_HOME", str(tmp_path / "home"))
    images = sorted([*(queries / "mine").iterdir(), *(queries / "others").iterdir()])
    with lineup.open(device="cpu") as engine:
        assert {row.verdict.label for row in engine.scan(queries / "mine")}.isdisjoint({NAME})
    run(enroll, NAME, queries / "support", "--device", "cpu")
    files = {path.name for path in (queries / "support").iterdir()}
    explained = run(attribute, images[0], "--explain", "--device", "cpu")
    (line,) = [one for one in explained.splitlines() if one.startswith("Nearest images by")]
    nearest = line.partition(": ")[2].split(", ")
    assert len(nearest) == 3
    assert set(nearest) <= files
    head = tmp_path / "head.safetensors"
    run(fit_open_set, "-o", head)

    scanned = lines(run(scan, *images))
    attributed = lines(run(attribute, *images, "--json"))
    verified = [json.loads(run(verify, one, "--source", NAME, "--json")) for one in images]
    classified = lines(run(classify, *images, "--classifier", head, "--json"))
    with lineup.open(device="cpu") as engine:
        answers = [engine.attribute(one) for one in images]
        rows = list(engine.scan(images))
        checks = [engine.verify(one, NAME) for one in images]
        classes = [engine.classify(one, read_classifier(head)) for one in images]

    labels = [row["verdict"] for row in scanned]
    mine = [path.parent.name == "mine" for path in images]
    # The others were drawn alike, and nothing in the gallery is nearer: what is said of them is not
    # the matter here, but that all say the same.
    assert all(label == NAME for label, is_mine in zip(labels, mine, strict=True) if is_mine)
    for found in (attributed, [one.to_dict() for one in answers], [one.to_dict() for one in rows]):
        assert [row["path"] for row in found] == list(map(str, images))
        assert [row["verdict"] for row in found] == labels
        assert [row["posterior"] for row in found] == [row["posterior"] for row in scanned]
        assert [row["run"] for row in found] == [row["run"] for row in scanned]
    for found in (verified, [{"llr": one.llr, "accepted": one.accepted} for one in checks]):
        # At even odds, where a scan starts from one half for all known sources together.
        assert all(one["accepted"] for one, is_mine in zip(found, mine, strict=True) if is_mine)
        ratios = [row["evidence"]["fingerprint"]["llr"][NAME] for row in scanned]
        assert [one["llr"] for one in found] == pytest.approx(ratios, abs=1e-5)
    assert [one["label"] == NAME for one in classified] == mine
    assert [one.label == NAME for one in classes] == mine


def test_an_engine_knows_at_once_what_it_enrolled(queries, tmp_path, monkeypatch):
    monkeypatch.setenv("LINEUP_HOME", str(tmp_path / "home"))
    query = queries / "mine" / "0000.png"
    with lineup.open(device="cpu") as engine:
        before, run_before = engine.attribute(query).verdict.label, engine.run_id()
        report = engine.enroll(NAME, queries / "support")

        assert (report.added, report.total) == (SUPPORT, SUPPORT)
        assert before != NAME
        assert engine.attribute(query).verdict.label == NAME
        assert engine.run_id() != run_before
