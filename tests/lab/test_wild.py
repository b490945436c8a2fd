"""The protocol "wild": what answers come to, rates, and the command on drawn images."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

import lineup
from lineup.errors import UsageError
from lineup.gallery.opening import shipped_others
from lineup.results import GENERATED, PHOTOGRAPH, UNDETERMINED, Evidence, Verdict
from lineup_lab.cli.eval import evaluate
from lineup_lab.dataset import SourceFolder
from lineup_lab.wild import (
    Answer,
    WildOptions,
    WildSplit,
    answer_from_verdict,
    answers_about_image,
    others_than,
    split_from_folders,
)
from lineup_lab.wild_rates import rates_from_answers, result_from_answers
from lineup_models.samples import SOURCES, draw_image


def verdict(label, *, a=0.1, b=0.1, family=()):
    posterior = {"a": a, "b": b, GENERATED: (1 - a - b) / 2, PHOTOGRAPH: (1 - a - b) / 2}
    evidence = (
        Evidence("fingerprint", {}, {"a": 2.0, "b": -1.0}, 1.0),
        Evidence("other", {}, {"a": 0.5}, 1.0),
    )
    return Verdict(label=label, posterior=posterior, evidence=evidence, family=family)


def answer(label, *, truth="a", is_enrolled=True, **kwargs):
    return answer_from_verdict(
        verdict(label, **kwargs),
        truth=truth,
        is_photograph=False,
        is_enrolled=is_enrolled,
        channel="jpeg",
    )


def test_an_answer_is_right_only_where_the_gallery_has_the_maker():
    assert answer("a").outcome == "right"
    assert answer("b").outcome == "wrong"
    assert answer("b", family=("b", "a")).outcome == "family"
    assert answer("a", family=("a", "b")).outcome == "family"
    assert answer("a", is_enrolled=False).outcome == "wrong"
    assert answer(GENERATED).outcome == "generated"
    assert answer(UNDETERMINED).outcome == "undetermined"


def test_scores_add_up_and_the_claim_is_that_of_the_likeliest_source():
    found = answer(GENERATED, a=0.2, b=0.3)
    assert found.scores == {"a": 2.5, "b": -1.0}
    assert found.claimed == 0.3
    assert not found.claim_is_right
    assert answer("a", a=0.6).claim_is_right


def test_an_image_that_several_galleries_answered_counts_once():
    answers = [answer("a"), answer("b"), answer("a"), answer("a")] * 20
    images = np.repeat(np.arange(40), 2).tolist()
    rates = rates_from_answers(answers, images, resamples=2000, seed=0)
    assert rates.n == 40
    assert rates.percent["right"] == 75
    assert rates.percent["wrong"] == 25
    # The mean of 40 numbers, a half or one each: 75 with a standard error of 4.
    np.testing.assert_allclose(rates.interval["right"], (67, 83), atol=1)


def test_what_never_happened_is_not_ruled_out():
    """Of 88 trials without a hit, the 95 % interval of Clopper and Pearson ends at 4.1 %."""
    rates = rates_from_answers([answer("a")] * 88, range(88), resamples=50, seed=0)
    np.testing.assert_allclose(rates.interval["wrong"], (0, 4.1), atol=0.02)
    np.testing.assert_allclose(rates.interval["right"], (95.9, 100), atol=0.02)


def test_figures_of_answers_that_are_known():
    def one(truth, outcome, scores, *, enrolled=True, camera=False, claimed=0.5, right=False):
        return Answer(truth, camera, enrolled, "none", outcome, claimed, right, scores)

    answers = [
        one("a", "right", {"a": 2.0, "b": 0.0}, claimed=1.0, right=True),
        one("b", "wrong", {"a": 1.0, "b": 0.5}, claimed=0.0),
        one("c", "undetermined", {"a": 0.2, "b": 0.1}, enrolled=False, claimed=0.0),
        one("p", "generated", {"a": 0.1, "b": 0.3}, enrolled=False, camera=True, claimed=0.0),
    ]
    result = result_from_answers(answers, 1, WildOptions(real=("p",), resamples=100))
    assert result.overall.enrolled.percent["right"] == 50
    assert result.overall.unknown.percent["undetermined"] == 100
    assert result.overall.photographs.percent["generated"] == 100
    assert result.overall.top1 == 50
    # a above all three others; b above c and p, and above a, whose score for b is 0.
    assert result.overall.auc == 100
    assert result.overall.oscr == 50
    assert result.overall.ece == 0


def test_at_most_half_of_a_source_is_enrolled_and_photographs_never_are(tmp_path):
    folders = [
        SourceFolder(name, tuple(tmp_path / name / f"{number}.png" for number in range(count)))
        for name, count in (("a", 9), ("b", 40), ("photos", 5))
    ]
    further = [SourceFolder("a", (tmp_path / "more" / "a" / "0.png",))]
    split = split_from_folders(folders, WildOptions(real=("photos",), enroll=10), further)
    assert {name: len(paths) for name, paths in split.support.items()} == {"a": 4, "b": 10}
    assert {name: len(paths) for name, paths in split.queries.items()} == {
        "a": 5,
        "b": 30,
        "photos": 5,
        "a (further)": 1,
    }
    assert split.photographs == {"photos"}
    for name, paths in split.support.items():
        assert not set(paths) & set(split.queries[name])
    other = split_from_folders(folders, WildOptions(real=("photos",), enroll=10, seed=1))
    assert other.support["b"] != split.support["b"]


@pytest.mark.parametrize(
    ("real", "message"),
    [(("cameras",), "--real 'cameras' is not among"), (("b", "photos"), "at least 2 sources")],
)
def test_what_cannot_be_run_is_refused_before_any_work(real, message):
    folders = [SourceFolder(name, (Path("1"), Path("2"))) for name in ("a", "b", "photos")]
    with pytest.raises(UsageError, match=message):
        split_from_folders(folders, WildOptions(real=real))


def test_no_version_of_the_asked_generator_is_among_the_others():
    others = shipped_others().candidates

    def kept(source):
        return {one.name for one in others} - {one.name for one in others_than(source, others)}

    assert kept("sdxl (further)") == {"sdxl", "sdxl_turbo"}
    assert kept("sd-beta") == {"sd15", "sd20"}
    assert kept("dalle3") == set()


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """Two drawn sources, and a third one that plays the photographs."""
    root = tmp_path_factory.mktemp("wild")
    for source, name in zip(SOURCES, ("sketch", "brush", "photos"), strict=False):
        (root / name).mkdir()
        for seed in range(6):
            image = draw_image(source, seed)[..., ::-1]
            cv2.imwrite(str(root / name / f"{seed}.png"), image)
    return root


def test_galleries_share_one_run_of_the_model(labelled, monkeypatch):
    runs = []
    path = labelled / "sketch" / "0.png"
    split = WildSplit({"a": (), "b": ()}, {"sketch": (path,)}, frozenset())
    options = WildOptions(real=())
    with lineup.open(device="cpu") as engine:
        alone = answers_about_image("sketch", path, split, {"a": engine}, options)
        compute = engine.extractor.signals_from_tiles
        monkeypatch.setattr(
            engine.extractor,
            "signals_from_tiles",
            lambda tiles: runs.append(len(tiles)) or compute(tiles),
        )
        together = answers_about_image("sketch", path, split, {"a": engine, "b": engine}, options)
    assert together == [*alone, *alone]
    assert runs == [1]


def test_the_command_says_what_every_gallery_said(labelled, tmp_path):
    output, picture = tmp_path / "wild.json", tmp_path / "wild.png"
    (labelled / "sketch" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    options = ["--real", "photos", "--bootstrap", "100", "--device", "cpu"]
    where = ["-o", str(output), "--picture", str(picture), "--json"]
    result = CliRunner().invoke(evaluate, ["wild", str(labelled), *options, *where])
    (labelled / "sketch" / "broken.png").unlink()
    assert result.exit_code in {0, 1}, result.output  # 1 where the broken file is a query
    document = json.loads(output.read_text())
    assert document == json.loads(result.stdout)
    assert document["protocol"] == "wild"
    assert document["photographs"]["n"] == 6
    assert document["unknown"]["n"] == document["enrolled"]["n"] >= 6
    for group, outcomes in (
        ("enrolled", ("right", "family", "wrong", "generated", "undetermined")),
        ("unknown", ("named", "generated", "undetermined")),
        ("photographs", ("named", "generated", "undetermined")),
    ):
        assert set(document[group]) == {"n", "interval", *outcomes}
        assert sum(document[group][one] for one in outcomes) == pytest.approx(100)
    assert {"auc_mean", "top1", "oscr", "ece", "seconds", "channels"} <= set(document)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_every_query_goes_through_each_channel_that_is_named(labelled):
    command = ["wild", str(labelled), "--real", "photos", "--bootstrap", "100", "--device", "cpu"]
    channels = ["--channel", "clean", "--channel", "resize:0.5"]
    result = CliRunner().invoke(evaluate, [*command, "--json", *channels])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert set(document["channels"]) == {"clean", "resize:0.5"}
    for figures in document["channels"].values():
        assert figures["photographs"]["n"] == 6
        assert 0 <= figures["auc_mean"] <= 100
    assert document["photographs"]["n"] == 12


def test_a_channel_that_is_none_is_refused(labelled):
    command = ["wild", str(labelled), "--real", "photos", "--channel", "jpg:70"]
    result = CliRunner().invoke(evaluate, command)
    assert isinstance(result.exception, UsageError)
