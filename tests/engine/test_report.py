import json

import cv2
import numpy as np
import pytest

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
