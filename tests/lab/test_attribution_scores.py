import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from lineup.errors import UsageError
from lineup.options import AttributionOptions
from lineup.reading import read_image
from lineup.results import Attribution, Evidence, Resyntheses, StageTimes, Verdict
from lineup.trace import LOAD, Cost, Trace
from lineup_lab.dataset import SourceFolder
from lineup_lab.scores import (
    RawScores,
    ScoreFile,
    StageRecord,
    distinct_rows,
    prompts_from_dir,
    raw_scores,
    timed_rows,
)


class ToyEngine:
    """The first pixel's colour is the score; counts its calls."""

    def __init__(self, run="0123456789ab"):
        self.run = run
        self.prompts = []

    @property
    def graphs(self):
        load = {} if self.prompts[1:] else {LOAD: Cost(1, seconds=0.1)}  # with the first image
        return {**load, "unet": Cost(2, seconds=0.3)}

    def run_id(self, options):
        return self.run

    def attribute(self, path, *, options):
        image = read_image(path)
        settings = options.resynthesis
        self.prompts.append(None if settings is None else settings.prompt)
        value = float(image.pixels[0, 0, 0])
        raw = Evidence("resynthesis", {"a": value}, {}, 2.0, samples={"a": (value, 0.0)})
        own = Evidence("fingerprint", {"a": 0.1}, {"a": 3.0}, 4.0, notes=("small",))
        shown = replace(raw, llr={"a": 9.0}, notes=("not calibrated",))
        trace = Trace()
        trace.stages, trace.graphs = {"generate": Cost(1, 2, 0, 0.5)}, self.graphs
        return Attribution(
            path=image.path,
            run=self.run,
            sha256=image.sha256,
            verdict=Verdict("a", {"a": 1.0}, (own, shown), caption="a dot"),
            resyntheses=Resyntheses("a dot", {}, {}, (raw,), trace),
            ms=StageTimes(preprocess=1.0, inference=600.0, fuse=3.0),
        )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a").mkdir()
    for value in (10, 20, 30):
        path = tmp_path / "a" / f"{value}.png"
        cv2.imwrite(str(path), np.full((4, 4, 3), value, np.uint8))
    return SourceFolder("a", tuple(sorted((tmp_path / "a").iterdir())))


def collect(folder, engine, path, **options):
    return list(raw_scores([folder], engine, AttributionOptions(), ScoreFile(path), **options))


def test_rows_hold_raw_scores_and_what_they_cost(folder, tmp_path):
    row = collect(folder, ToyEngine(), None)[0]

    raw = {one.name: one for one in row.evidence}
    assert raw["resynthesis"].llr == {}  # not the ratios that the verdict fell back to
    assert raw["resynthesis"].samples == {"a": (10.0, 0.0)}
    assert raw["fingerprint"].llr == {"a": 3.0}
    assert row.caption == "a dot"
    assert row.stages["generate"] == StageRecord(500.0, 1, 2, 0)
    assert row.stages["fingerprint"].ms == pytest.approx(3.0)
    assert row.graph_runs == {"unet": 2}
    assert row.seconds == pytest.approx(0.604)
    assert row.key == "a/10.png"
    assert row.is_fresh


def test_time_is_that_of_a_warm_verdict_without_a_cache(folder):
    rows = collect(folder, ToyEngine(), None)
    cached = replace(rows[2], stages={"generate": StageRecord(1.0, 0, 0, cached=2)})

    assert [row.is_cold for row in rows] == [True, False, False]
    assert timed_rows([*rows[:2], cached]) == [rows[1]]
    assert timed_rows([rows[0], cached]) == [rows[0]]
    assert timed_rows([cached]) == []


def test_a_killed_run_goes_on(folder, tmp_path):
    path = tmp_path / "new" / "scores.jsonl"
    first = collect(folder, ToyEngine(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])  # killed in row 3

    engine = ToyEngine()
    again = collect(folder, engine, path)

    assert len(engine.prompts) == 1
    kept, mended = whole.splitlines()[:2], path.read_bytes().splitlines()
    assert mended[:2] == kept
    assert len(mended) == 3
    assert again[:2] == first[:2]
    assert again[2] == replace(first[2], is_cold=True)  # the model was loaded anew


def test_rows_of_another_run_are_kept_and_not_used(folder, tmp_path):
    path = tmp_path / "scores.jsonl"
    collect(folder, ToyEngine(), path)
    other = ToyEngine("another")

    collect(folder, other, path)

    assert len(other.prompts) == 3
    assert len(path.read_text().splitlines()) == 6
    unasked = ToyEngine()
    collect(folder, unasked, path)
    assert unasked.prompts == []


def test_known_prompts_replace_the_caption_and_are_another_question(folder, tmp_path):
    path = tmp_path / "scores.jsonl"
    engine = ToyEngine()

    collect(folder, engine, path)
    collect(folder, engine, path, prompts={"a/20.png": "two dots"})

    assert engine.prompts == [None, None, None, "two dots"]


def test_unreadable_images_have_a_row_that_says_why_and_are_tried_again(folder, tmp_path):
    path = tmp_path / "scores.jsonl"
    folder.paths[1].write_bytes(b"nothing")

    rows = collect(folder, ToyEngine(), path)
    engine = ToyEngine()
    folder.paths[1].write_bytes(folder.paths[0].read_bytes())
    mended = collect(folder, engine, path)

    assert [row.error is None for row in rows] == [True, False, True]
    assert len(engine.prompts) == 1
    assert mended[1].error is None


def test_content_counts_once_and_never_for_two_sources():
    def row(name, source, sha256, error=None):
        return RawScores(path=name, source=source, run="r", sha256=sha256, error=error)

    rows = [
        row("1", "a", "x"),
        row("2", "a", "x"),
        row("3", "a", "y"),
        row("4", "b", "y"),
        row("5", "b", None, "damaged"),
        row("6", "b", "z"),
    ]
    dropped = []

    kept = distinct_rows(rows, lambda one, reason: dropped.append((one.path, reason)))

    assert [one.path for one in kept] == ["1", "6"]
    assert dropped == [
        ("2", "duplicate"),
        ("3", "also in b"),
        ("4", "also in a"),
        ("5", "damaged"),
    ]


@pytest.mark.parametrize("text", ["[]\n", '{"path": 1}\n', "no row\n"])
def test_a_foreign_file_is_refused(tmp_path, text):
    path = tmp_path / "scores.jsonl"
    path.write_text(text)

    with pytest.raises(UsageError, match="line 1 is not a row of raw scores"):
        ScoreFile(path)
    assert path.read_text() == text


def test_prompts_are_a_table_or_absent(tmp_path):
    assert prompts_from_dir(tmp_path) == {}
    (tmp_path / "prompts.json").write_text(json.dumps({"a/1.png": "one dot"}))
    assert prompts_from_dir(tmp_path) == {"a/1.png": "one dot"}

    for text in ("[1]", "{", '{"a": 1}'):
        (tmp_path / "prompts.json").write_text(text)
        with pytest.raises(UsageError, match=r"prompts\.json"):
            prompts_from_dir(tmp_path)
