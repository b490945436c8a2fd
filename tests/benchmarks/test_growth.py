"""Growth and long scans: the arithmetic, and one real scan of a few images."""

from __future__ import annotations

import argparse

import pytest


def test_images_are_few_files_under_many_names(tmp_path):
    from memory_flat import link_images

    link_images(tmp_path / "images", 2050, size_px=16)

    files = [path for path in (tmp_path / "images").rglob("*") if path.is_file()]
    assert len(files) == 2050
    assert len({path.stat().st_ino for path in files}) == 16
    assert len(list((tmp_path / "images").iterdir())) == 3


def test_rows_are_counted_as_they_come(tmp_path):
    from memory_flat import RowCount

    path = tmp_path / "rows"
    count = RowCount(path)
    assert count.update() == 0
    path.write_text("a\nb\nhalf")
    assert count.update() == 2
    with path.open("a") as file:
        file.write(" line\n")
    assert count.update() == 3


def test_growth_compares_the_end_with_what_followed_the_first_rows():
    from memory_flat import growth_mib

    start = [{"rows": 500, "anonymous_mib": 10.0}]
    early = [{"rows": 1000 + n, "anonymous_mib": 80.0 + n % 3} for n in range(0, 900, 100)]
    late = [{"rows": 9500 + n, "anonymous_mib": 90.0} for n in range(0, 501, 100)]

    found = growth_mib([*start, *early, *late], 1000)

    assert found == {"early_mib": 81.0, "late_mib": 90.0, "growth_mib": 9.0}


def test_few_samples_are_kept_for_the_plot():
    from memory_flat import MOST_POINTS, thinned

    kept = thinned([{"rows": number, "anonymous_mib": 1 / 3} for number in range(5000)])

    assert len(kept) <= MOST_POINTS
    assert kept[1] == {"rows": 13, "anonymous_mib": 0.33}


def test_a_line_through_points_on_one_is_that_line():
    from growth import line_through

    line = line_through([1, 10, 1000], [2.5, 7.0, 502.0])

    assert line == pytest.approx({"start_s": 2.0, "each_s": 0.5})


def test_more_candidates_than_there_are_share_bundles(tmp_path):
    from growth import pocket_of
    from lineup.lineups.spec import LINEUP_TOML

    path = tmp_path / "lineup.toml"
    path.write_text(pocket_of(6, gamma=1))

    spec = LINEUP_TOML.read(path)
    assert len({one.name for one in spec.candidates}) == 6
    assert [one.bundle for one in spec.candidates][4:] == ["pocket-ash", "pocket-birch"]


def test_a_scan_in_a_child_is_measured():
    from growth import measure

    arguments = argparse.Namespace(
        images=[1, 2], candidates=[], redrawn=1, gamma=1, rounds=1, threads=1
    )

    found = measure(arguments)

    points = found["images"]["points"]
    assert [one["count"] for one in points] == [1, 2]
    assert all(one["seconds"] > 0 for one in points)
    assert found["candidates"] == {"points": [], "line": None}


def test_a_scan_that_made_no_verdicts_is_no_measurement(tmp_path):
    from _peers import scan_once

    broken = tmp_path / "images"
    broken.mkdir()
    (broken / "a.png").write_bytes(b"no image")

    with pytest.raises(SystemExit, match="1 images, 1 failed"):
        scan_once([broken], "pocket", tmp_path / "rows", threads=1)
