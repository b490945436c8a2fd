"""The page of a scan: what it holds, what it refuses, and that no name in it takes effect."""

import base64
import gzip
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from lineup.calibration.calibration import CALIBRATION
from lineup.cli.report import report
from lineup.errors import UsageError
from lineup.files import sha256_from_file
from lineup.gallery.opening import source_entries
from lineup.lineups.store import open_lineup
from lineup.report.about import calibrated_rates, error_rates, rates_in_words
from lineup.report.page import write_report
from lineup.report.rows import row_from_record, rows_from_jsonl
from lineup.results import PHOTOGRAPH


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
            "fingerprint": {
                "scores": {"dalle3": 0.5},
                "llr": {"dalle3": 2.0},
                "channel": "jpeg:70",
                "nearest": ["a.png"],
                "in_words": "As little like a photograph are few.",
                "notes": [],
            }
        },
        "ms": {"read": 1.0, "decode": None},
        "notes": [],
        "error": None,
    }
    return row | changes


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "query.png"
    path.write_bytes(cv2.imencode(".png", np.full((32, 64, 3), 128, np.uint8))[1].tobytes())
    return path


def render(records, tmp_path, **options):
    page = tmp_path / "page.html"
    write_report([row_from_record(one) for one in records], page, **options)
    return page.read_text()


def entries(page):
    """What the page's script draws."""
    chunks = re.findall(r'class="rows">([^<]*)<', page)
    return [one for text in chunks for one in json.loads(gzip.decompress(base64.b64decode(text)))]


def written(path, *records):
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    return path


def test_an_entry_tells_the_verdict_in_words_and_numbers(tmp_path):
    (entry,) = entries(render([record("a.png")], tmp_path))

    sentence = "Most likely made by dalle3 (80 %); seen through JPEG of quality about 70."
    assert entry["sentence"] == sentence
    assert entry["posterior"][0] == ["dalle3", 0.8]
    assert entry["evidence"][0]["llr"] == {"dalle3": 2.0}
    assert entry["evidence"][0]["nearest"] == ["a.png"]
    assert entry["evidence"][0]["in_words"] == "As little like a photograph are few."
    assert entry["channel"] == "JPEG of quality about 70"


def test_what_the_file_declares_stands_beside_the_verdict(tmp_path):
    origin = {"statement": "The file declares: x.", "disagreement": "a, b", "claims": []}
    first, second = entries(render([record("a.png", origin=origin), record("b.png")], tmp_path))

    assert (first["declared"], first["disagreement"]) == ("The file declares: x.", "a, b")
    assert second["declared"] is None


def test_failures_are_told(tmp_path):
    error = {"type": "UnreadableImageError", "message": "empty file"}
    failed = record("gone.png", verdict=None, posterior=None, evidence=None, error=error)
    page = render([failed, record("a.png")], tmp_path)

    assert entries(page)[0]["error"] == "UnreadableImageError: empty file"
    assert 'warning">failed</span> <strong>1</strong>' in page


def test_every_row_is_in_the_page_and_every_answer_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("lineup.report.page.CHUNK_ROWS", 3)
    page = render([record(f"{i}.png") for i in range(8)], tmp_path)

    assert [one["path"] for one in entries(page)] == [f"{i}.png" for i in range(8)]
    assert page.count('class="rows"') == 3
    assert "dalle3</span> <strong>8</strong>" in page


def test_a_stranger_s_text_is_text(tmp_path):
    evil = "</script><script>alert(1)</script>\u202egnp.exe"
    row = record(evil, verdict="<b>", posterior={"<b>": 1.0, "generated": 0, "photograph": 0})
    page = render([row | {"notes": [evil], "run": evil, "lineup": "<i>"}], tmp_path)

    assert page.count("<script") == 2  # the rows, and the page's own
    assert "<b>" not in page
    assert "<i>" not in page
    assert "\u202e" not in json.dumps(entries(page), ensure_ascii=False)
    assert "default-src 'none'" in page
    assert "http:" not in page
    assert "https:" not in page


def test_names_that_are_not_utf8(tmp_path):
    page = render([record("bad\udcff.png", run="\udcff")], tmp_path)

    assert entries(page)[0]["path"] == "bad\\udcff.png"


def test_a_thumbnail_is_of_the_file_that_was_scanned(image, tmp_path):
    same = record(image, sha256=sha256_from_file(image))
    changed = record(f"{image.parent}/./{image.name}")
    pictures = [one["picture"] for one in entries(render([same, changed], tmp_path, embed=True))]

    assert pictures[0].startswith("data:image/jpeg;base64,")
    assert pictures[1] is None


def test_thumbnails_are_bounded(image, tmp_path, monkeypatch):
    monkeypatch.setattr("lineup.report.page.MOST_EMBEDDED", 2)
    sha256 = sha256_from_file(image)
    rows = [record(f"{image.parent}{'/.' * dots}/query.png", sha256=sha256) for dots in range(3)]

    assert [bool(one["picture"]) for one in entries(render(rows, tmp_path, embed=True))] == [
        True,
        True,
        False,
    ]


def test_a_page_without_thumbnails_refers_to_the_files(image, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    odd = tmp_path / "a b#?.png"
    odd.write_bytes(image.read_bytes())
    size = image.stat().st_size
    rows = [
        record("query.png", bytes=size),
        record(odd, bytes=size),
        record("./query.png", bytes=size + 1),
        record("gone.png"),
        record("http://example.org/x.png"),
        record("a\0b.png"),
    ]
    monkeypatch.chdir(tmp_path / "out")
    for options in ({"results": tmp_path / "out" / "rows.jsonl"}, {"base": tmp_path}):
        page = render(rows, tmp_path / "out", **options)
        pictures = [one["picture"] for one in entries(page)]
        assert pictures == ["./../query.png", "./../a%20b%23%3F.png", None, None, None, None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json\n", "line 1: not JSON"),
        ('{"path": "x"}\n', "line 1: not a row of a scan: .*`sha256`"),
        ("[]\n", "line 1: not a row"),
        (json.dumps(record("a.png") | {"path": 3}) + "\n", r"got `int` - at `\$.path`"),
        (json.dumps(record("a.png", posterior=[1])) + "\n", r"\$.posterior"),
        (json.dumps(record("a.png", ms=None)) + "\n", r"\$.ms"),
        (json.dumps(record("a.png", error="x")) + "\n", r"\$.error"),
        (json.dumps(record("a.png", verdict="sdxl")) + "\n", "no posterior of 'sdxl'"),
        (json.dumps(record("a.png", verdict=None)) + "\n", "neither verdict nor error"),
        ("[" * 100000 + "\n", "line 1: not JSON"),
    ],
)
def test_refuses_what_is_no_scan(tmp_path, text, message):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(record("a.png")) + "\n" + text)

    with pytest.raises(UsageError, match=message.replace("line 1", "line 2")):
        list(rows_from_jsonl(path))


def test_a_channel_that_nobody_knows_is_refused(tmp_path):
    row = record("a.png")
    row["evidence"]["fingerprint"]["channel"] = "<b>"

    with pytest.raises(UsageError, match="not a row of a scan"):
        list(rows_from_jsonl(written(tmp_path / "rows.jsonl", row)))


def test_numbers_that_are_none_are_left_out(tmp_path):
    row = record("a.png")
    row["evidence"]["fingerprint"]["scores"]["dalle3"] = None
    row["evidence"]["fingerprint"]["llr"]["dalle3"] = float("nan")

    (entry,) = entries(render([row], tmp_path))
    assert entry["evidence"][0]["scores"] == entry["evidence"][0]["llr"] == {"dalle3": None}


def test_half_a_last_row_is_left_out(tmp_path):
    path = tmp_path / "rows.jsonl"
    whole = json.dumps(record("a.png")) + "\n"
    half = json.dumps(record("b.png"))

    def paths():
        return [one.path for one in rows_from_jsonl(path)]

    for length in (0, 1, len(half) // 2, len(half) - 1):
        path.write_text(whole + half[:length])
        assert paths() == ["a.png"]
    path.write_text(whole + half)
    assert paths() == ["a.png", "b.png"]
    path.write_text(whole + half[:9] + "\n" + whole)
    with pytest.raises(UsageError, match="line 2: not JSON"):
        paths()
    path.write_text("path,sha256")
    with pytest.raises(UsageError, match="line 1: not JSON"):
        paths()


def test_the_last_row_of_a_path_counts(tmp_path):
    rows = [record("a.png", notes=["x"]), record("b.png"), record("a.png", notes=["y"])]
    page = render(rows, tmp_path)

    assert [(one["path"], one["remarks"]) for one in entries(page)] == [
        ("a.png", ["y"]),
        ("b.png", []),
    ]
    assert "dalle3</span> <strong>2</strong>" in page


def test_a_page_replaces_nothing_but_a_page(tmp_path):
    path = written(tmp_path / "rows.jsonl", record("a.png"))
    (tmp_path / "rows.html").symlink_to(path)
    (tmp_path / "a.png").write_bytes(b"\x89PNG")

    for options in ([], ["-o", str(path)], ["-o", str(tmp_path / "a.png")]):
        result = CliRunner().invoke(report, [str(path), *options])
        assert isinstance(result.exception, UsageError)
    assert [one.path for one in rows_from_jsonl(path)] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"\x89PNG"
    page = tmp_path / "page.html"
    for _ in range(2):
        result = CliRunner().invoke(report, [str(path), "-o", str(page)])
        assert (result.exit_code, result.stdout) == (0, f"{page}\n")


def test_the_page_says_what_its_answers_are_worth(tmp_path):
    page = render([record("a.png")], tmp_path, sources=source_entries())

    rate = error_rates().fingerprint.enrolled_right
    told = f"{rate.percent:g} % ({rate.low:g} to {rate.high:g}) were named rightly"
    assert told in page
    assert "drawn 2022" in page
    assert "with CLIP" not in page


@pytest.mark.parametrize("evidence", ["fingerprint", "reference"])
def test_error_rates_are_those_of_the_documentation(evidence):
    rates = getattr(error_rates(), evidence)
    text = (Path(__file__).parents[3] / "docs" / "evidence.md").read_text()
    (label,) = {"by fingerprint" if evidence == "fingerprint" else "with CLIP"}
    table = text[text.index(f"| **{label}:** source enrolled") :].split("\n")[:3]
    cells = [[cell.strip() for cell in line.split("|")[2:]] for line in table]

    def cell(rate):
        return f"{rate.percent:.1f} ({rate.low:g} to {rate.high:g})"

    assert cells[0][:2] == [cell(rates.enrolled_right), cell(rates.enrolled_wrong)]
    assert cells[1][1] == cell(rates.unknown_named)
    assert cells[2][1:3] == [cell(rates.photographs_named), cell(rates.photographs_generated)]
    found = error_rates().images
    assert f"of {found.enrolled} / {found.unknown} / {found.photographs} images" in text
    assert error_rates().command in text
    assert "named rightly" in "".join(rates_in_words([evidence]))


def test_a_calibration_tells_the_rates_of_its_own_evidence():
    calibration = CALIBRATION.read(open_lineup("pocket").calibration)
    variant = calibration.variants[-1]
    whole = max(variant.sets, key=lambda one: len(one.evidences))
    options = {name: one.options for name, one in variant.evidence.items()}

    lines = calibrated_rates(set(whole.evidences) - {PHOTOGRAPH}, calibration, options)

    assert f"was the likeliest for {whole.figures['accuracy']:.1f} %" in lines[-1]
    assert len(calibrated_rates(["reference"], calibration, {})) == 2
