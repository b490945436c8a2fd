import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from lineup.cli.report import report
from lineup.errors import UsageError
from lineup.files import sha256_from_file
from lineup.report import records_from_jsonl, write_report


def record(path, **changes):
    row = {
        "path": str(path),
        "sha256": "0" * 64,
        "format": "png",
        "width": 64,
        "height": 32,
        "verdict": "dalle3",
        "posterior": {"dalle3": 0.8, "generated": 0.15, "photograph": 0.05},
        "evidence": {
            "fingerprint": {"scores": {"dalle3": 0.5}, "llr": {"dalle3": 2.0}, "notes": []}
        },
        "ms": {"read": 1.0, "decode": None},
        "notes": [],
        "error": None,
    }
    return row | changes


def test_what_the_file_declares_stands_beside_the_verdict(tmp_path):
    origin = {"statement": "The file declares: <b>.", "disagreement": "a, b", "claims": []}
    page = render([record("a.png", origin=origin), record("b.png", origin=None)], tmp_path)

    assert "The file declares: &lt;b&gt;." in page
    assert page.count("They disagree: a, b.") == 1


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "query.png"
    path.write_bytes(cv2.imencode(".png", np.full((32, 64, 3), 128, np.uint8))[1].tobytes())
    return path


def render(records, tmp_path, **options):
    page = tmp_path / "page.html"
    write_report(records, page, **options)
    return page.read_text()


def test_shows_verdict_scores_and_a_thumbnail(image, tmp_path):
    page = render([record(image, sha256=sha256_from_file(image))], tmp_path)

    assert "data:image/jpeg;base64," in page
    assert "80.0 %" in page
    assert "+2.00" in page
    assert "http" not in page  # needs no network


@pytest.mark.parametrize(
    ("label", "explanation"),
    [("generated", "by no source in the gallery"), ("undetermined", "no source stands out")],
)
def test_what_names_nobody_is_explained(label, explanation, tmp_path):
    page = render([record("a.png", verdict=label)], tmp_path)

    assert explanation in page
    assert page.count('class="fill none"') == 2  # of the generated and the photograph's share


def test_no_thumbnail_of_a_file_that_changed(image, tmp_path):
    assert "data:image" not in render([record(image)], tmp_path)


def test_failures_are_told(tmp_path):
    failed = record(
        "gone.png",
        verdict=None,
        posterior=None,
        evidence=None,
        error={"type": "UnreadableImageError", "message": "empty file"},
    )

    page = render([failed], tmp_path)

    assert "UnreadableImageError: empty file" in page


def test_file_names_cannot_inject_markup(tmp_path):
    page = render([record("<script>alert(1)</script>.png")], tmp_path)

    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_long_scans_are_cut_but_counted(tmp_path):
    page = render([record(f"{i}.png") for i in range(5)], tmp_path, max_rows=2)

    assert page.count('<td class="thumb">') == 2
    assert "3 more images" in page
    assert "dalle3</span> <strong>5</strong>" in page


def test_names_that_are_not_utf8(tmp_path):
    assert "bad" in render([record("bad\udcff.png")], tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("not json\n", "line 1: not JSON"), ('{"path": "x"}\n', "lacks error"), ("[]\n", "lacks")],
)
def test_refuses_what_is_no_scan(tmp_path, text, message):
    path = tmp_path / "rows.jsonl"
    path.write_text(text)

    with pytest.raises(UsageError, match=message):
        records_from_jsonl(path)


def test_reads_what_a_scan_wrote(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(record("a.png")) + "\n")

    assert records_from_jsonl(path) == [record("a.png")]


def test_half_a_last_row_is_left_out(tmp_path):
    path = tmp_path / "rows.jsonl"
    whole = json.dumps(record("a.png")) + "\n"
    half = json.dumps(record("b.png"))

    for length in (0, 1, len(half) // 2, len(half) - 1):
        path.write_text(whole + half[:length])
        assert records_from_jsonl(path) == [record("a.png")]
    path.write_text(whole + half)
    assert records_from_jsonl(path) == [record("a.png"), record("b.png")]
    path.write_text(whole + half[:9] + "\n" + whole)
    with pytest.raises(UsageError, match="line 2: not JSON"):
        records_from_jsonl(path)
    path.write_text("path,sha256")
    with pytest.raises(UsageError, match="line 1: not JSON"):
        records_from_jsonl(path)


def test_the_last_row_of_a_path_counts(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [record("a.png", verdict=None), record("b.png"), record("a.png", verdict="sdxl")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    assert records_from_jsonl(path) == [rows[2], rows[1]]


def test_thumbnails_are_found_from_anywhere(image, tmp_path, monkeypatch):
    row = record("query.png", sha256=sha256_from_file(image))
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    for options in ({"results": tmp_path / "out" / "rows.jsonl"}, {"base": tmp_path}):
        assert "data:image/jpeg" in render([row], tmp_path, **options)
    page = render([row, record("gone.png")], tmp_path, base=tmp_path / "out")
    assert "data:image/jpeg" not in page
    assert "2 without a picture" in page


def test_a_cut_page_names_where_the_rest_is(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(record(f"{i}.png")) + "\n" for i in range(3)))

    result = CliRunner().invoke(report, [str(path), "--max-rows", "2"])

    assert "shows 2 of 3 images" in result.stderr
    assert f"1 more image is in {path}" in (tmp_path / "rows.html").read_text()
    assert result.stdout == f"{tmp_path / 'rows.html'}\n"


def test_names_take_no_effect(tmp_path):
    assert "gnp.\\u202eexe" in render([record("gnp.\u202eexe")], tmp_path)


@pytest.mark.parametrize("changes", [{"path": 3}, {"posterior": [1]}, {"ms": None}, {"error": "x"}])
def test_what_is_not_what_a_row_holds_is_refused(tmp_path, changes):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(record("a.png") | changes) + "\n")

    with pytest.raises(UsageError, match=f"it lacks {next(iter(changes))}"):
        records_from_jsonl(path)


def test_a_page_replaces_nothing_but_a_page(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(record("a.png")) + "\n")
    (tmp_path / "rows.html").symlink_to(path)

    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    for options in ([], ["-o", str(path)], ["-o", str(tmp_path / "a.png")]):
        result = CliRunner().invoke(report, [str(path), *options])
        assert isinstance(result.exception, UsageError)
    assert records_from_jsonl(path) == [record("a.png")]
    assert (tmp_path / "a.png").read_bytes() == b"\x89PNG"
    page = tmp_path / "page.html"
    for _ in range(2):
        assert CliRunner().invoke(report, [str(path), "-o", str(page)]).exit_code == 0
