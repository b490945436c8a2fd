import csv
import io
import json
import os
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from lineup import engine as engine_module
from lineup.cli.scan import scan
from lineup.errors import UsageError

FAKE_ENGINE = Path(__file__).parents[1] / "scan" / "fake_engine.py"


@pytest.fixture
def opened(monkeypatch):
    """The engine on a toy model; `asked_for` tells what was opened."""
    fakes = runpy.run_path(str(FAKE_ENGINE))
    found = SimpleNamespace(engine=None, asked_for=[])

    def open_engine(lineup, **options):
        found.asked_for.append({"lineup": lineup.spec.name, **options})
        found.engine = fakes["fake_engine"]()
        return found.engine

    monkeypatch.setattr(engine_module, "open_engine", open_engine)
    return found


@pytest.fixture
def folder(tmp_path):
    """Three images and a broken one."""
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(3):
        pixels = np.full((32, 32, 3), 50 * index, np.uint8)
        (folder / f"{index}.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    (folder / "broken.jpg").write_bytes(b"no image")
    return folder


@pytest.fixture
def run(opened, monkeypatch, tmp_path):
    """Run the command in the folder of the test; an error of lineup is raised."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, **given):
        result = CliRunner().invoke(scan, [str(one) for one in arguments], **given)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def rows(text):
    return [json.loads(line) for line in text.splitlines()]


def test_rows_on_standard_output_and_nothing_else(run, folder, opened):
    result = run("in")

    assert [row["path"] for row in rows(result.stdout)] == [
        "in/0.png", "in/1.png", "in/2.png", "in/broken.jpg",
    ]  # fmt: skip
    assert result.stderr.startswith("4 images, 1 failed, ")  # no bar without a terminal
    assert result.stderr.count("\n") == 1
    assert result.exit_code == 1  # one failed
    assert opened.engine.extractor.is_closed


def test_exit_code_0_when_all_is_well(run, folder):
    result = run("in/0.png", "in/1.png")

    assert (result.exit_code, result.stderr) == (0, "")


def test_verbose_says_where_the_time_went(run, folder):
    stderr = run("in", "--verbose").stderr

    assert "decode" in stderr
    assert stderr.splitlines()[-1].startswith("4 images, 1 failed, ")


def test_options_reach_the_engine_and_the_scan(run, folder, opened):
    run(
        "in", "--device", "cpu", "--threads", 3, "--fingerprint", "f", "--gallery", "g",
        "--batch", 2, "--workers", 1, "--max-pixels", 2000, "--evidence", "fingerprint",
    )  # fmt: skip

    assert opened.asked_for == [
        {
            "lineup": "gallery",
            "device": "cpu",
            "threads": 3,
            "fingerprint": "f",
            "gallery": Path("g"),
            "cache": True,
            "keep_models": True,
        }
    ]
    assert opened.engine.extractor.batches == [[4, 4], [4]]


def test_max_pixels_refuses_larger_images(run, folder):
    result = run("in/0.png", "--max-pixels", 1023)

    assert rows(result.stdout)[0]["error"]["type"] == "ImageTooLargeError"
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("output", "given", "is_csv"),
    [
        ("r.csv", (), True),
        ("r.CSV", (), True),
        ("r.txt", (), False),
        ("r.csv", ("--format", "jsonl"), False),
        ("r.txt", ("--format", "csv"), True),
    ],
)
def test_the_format_follows_the_name_unless_it_is_given(run, folder, output, given, is_csv):
    run("in", "-o", output, *given)
    text = Path(output).read_text()

    records = list(csv.DictReader(io.StringIO(text))) if is_csv else rows(text)
    assert [Path(record["path"]).name for record in records][-1] == "broken.jpg"
    assert len(records) == 4


def test_paths_from_standard_input_and_from_a_list(run, folder, tmp_path):
    (tmp_path / "list.txt").write_text("in/1.png\n")
    stdout = run("-", "--from-file", "list.txt", input="in/2.png\n").stdout
    assert [row["path"] for row in rows(stdout)] == ["in/2.png", "in/1.png"]

    stdout = run("--from-file", "-", input="in/2.png\0in/0.png\0").stdout
    assert [row["path"] for row in rows(stdout)] == ["in/2.png", "in/0.png"]


def test_a_folder_a_glob_and_a_file_inside_give_each_image_one_row(run, folder):
    stdout = run("in", "in/*.png", "in/../in/1.png", folder / "2.png").stdout

    assert len(rows(stdout)) == 4


def test_a_missing_file_is_a_row(run):
    result = run("missing.png")

    assert rows(result.stdout)[0]["error"]["type"] == "UnreadableImageError"
    assert result.exit_code == 1


@pytest.mark.skipif(sys.platform != "linux", reason="file systems elsewhere insist on Unicode")
def test_a_name_that_is_not_utf8(run, folder):
    (folder / "1.png").rename(folder / os.fsdecode(b"caf\xe9.png"))
    names = [os.fsencode(row["path"]) for row in rows(run("in").stdout)]

    assert b"in/caf\xe9.png" in names
    assert "in/caf\\udce9.png" in run("in", "--format", "csv").stdout


def test_an_existing_output_is_refused_before_any_work(run, folder, opened):
    Path("r.jsonl").write_text("mine")

    with pytest.raises(UsageError, match="exists already"):
        run("in", "--output", "r.jsonl")
    assert Path("r.jsonl").read_text() == "mine"
    assert opened.asked_for == []


def test_resume_adds_what_is_missing_and_remembers_failures(run, folder):
    run("in", "--output", "r.jsonl")
    whole = Path("r.jsonl").read_text()
    Path("r.jsonl").write_text("".join(whole.splitlines(keepends=True)[:2]))
    run("in", "--output", "r.jsonl", "--resume")
    again = run("in", "--output", "r.jsonl", "--resume", "--verbose")

    assert len(rows(Path("r.jsonl").read_text())) == 4
    assert "1 images, 1 failed, 3 already done" in again.stderr
    assert again.exit_code == 1  # as of the scan as a whole


def test_overwrite_replaces(run, folder):
    Path("r.jsonl").write_text('{"path": "old"}\n')
    run("in/0.png", "--output", "r.jsonl", "--overwrite")

    assert len(rows(Path("r.jsonl").read_text())) == 1


def test_a_name_of_another_format_is_taken_where_the_format_is_said(run, folder):
    run("in/0.png", "-o", "r.parquet", "--format", "csv")

    assert Path("r.parquet").read_text().startswith("path,")


def test_parquet_is_meant_by_the_name_of_the_file(run, folder):
    pq = pytest.importorskip("pyarrow.parquet", reason="needs the extra parquet")
    run("in", "-o", "r.parquet")
    run("in", "-o", "r.jsonl")

    found = pq.read_table("r.parquet").select(["path", "verdict", "run"]).to_pylist()
    assert found == [
        {key: row[key] for key in found[0]} for row in rows(Path("r.jsonl").read_text())
    ]


def test_the_output_may_lie_among_the_inputs(run, folder):
    for mode in ("--overwrite", "--resume"):
        run("in", "in/*", "--output", "in/r.jsonl", mode)
        assert len(rows((folder / "r.jsonl").read_text())) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "No images were named"),
        (("in", "--from-file", "no.txt"), "does not exist"),
        (("in", "--resume", "--overwrite", "-o", "r.jsonl"), "exclude each other"),
        (("in", "--resume"), "cannot be resumed"),
        (("in", "--evidence", "tea-leaves"), "There is no evidence 'tea-leaves'"),
        (("in", "-o", "no/r.jsonl"), "There is no folder no"),
        (("in", "-o", "r.xlsx"), "not written as xlsx"),
        (("in", "--ray", "-o", "r.csv"), "no CSV"),
    ],
)
def test_wrong_usage_is_refused_before_any_work(run, folder, opened, arguments, message):
    with pytest.raises(UsageError, match=message):
        run(*arguments)
    assert opened.asked_for == []


def test_finding_nothing_is_an_error_and_leaves_nothing(run, tmp_path):
    (tmp_path / "empty").mkdir()

    with pytest.raises(UsageError, match="No images in empty"):
        run("empty", "--output", "r.jsonl")
    assert not Path("r.jsonl").exists()


@pytest.mark.parametrize("name", ["0.png", "link.jsonl", "list.txt"])
def test_rows_never_replace_what_was_given(run, folder, name):
    (folder / "link.jsonl").symlink_to("0.png")
    (folder / "list.txt").write_text("0.png\n")
    before = (folder / name).read_bytes()

    with pytest.raises(UsageError, match="is not replaced"):
        run(
            "in",
            "--from-file",
            "in/list.txt",
            "-o",
            f"in/{name}",
            "--overwrite",
            "--format",
            "jsonl",
        )

    assert (folder / name).read_bytes() == before
    assert (folder / "link.jsonl").is_symlink()


def test_rows_are_no_image(run, folder):
    with pytest.raises(UsageError, match="not written as png"):
        run("in", "-o", "in/new.png")


def test_a_limit_that_was_raised_is_tried_again(run, folder):
    assert run("in/0.png", "-o", "r.jsonl", "--max-pixels", "1000").exit_code == 1

    assert run("in/0.png", "-o", "r.jsonl", "--resume", "--no-retry-failed").exit_code == 1
    assert run("in/0.png", "-o", "r.jsonl", "--resume").exit_code == 0

    (row,) = map(json.loads, Path("r.jsonl").read_text().splitlines())
    assert row["error"] is None
    assert row["verdict"] is not None
