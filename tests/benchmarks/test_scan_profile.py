from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from lineup.errors import UsageError
from lineup.results import Verdict
from lineup.stream import StreamOptions


class FakeEngine:
    """Stands in for `lineup.engine.Engine`; counts what its model was given."""

    device = "fake"

    def __init__(self) -> None:
        self.extractor = self
        self.dimension = 2
        self.batches: list[int] = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def tiles(self, pixels):
        return np.zeros((1, 4, 4, 3), np.uint8)

    def notes(self, pixels):
        return ()

    def fingerprints_from_tiles(self, tiles):
        self.batches.append(len(tiles))
        return np.tile(np.float32([1, 0]), (len(tiles), 1))

    def answer(self, queries, options):
        self.fingerprints_from_tiles([query.tiles for query in queries])
        for query in queries:
            query.verdict = Verdict("a", {"a": 1.0})

    def evidence_of(self, options):
        return ("fingerprint",)

    def run_id(self, options=None):
        return "0123456789ab"


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    from scan_profile import draw_images

    return draw_images(tmp_path, sizes_px=(16, 32), per_size=3)


def test_images_are_drawn_in_every_size_and_both_formats(paths):
    sides = [cv2.imread(str(path)).shape for path in paths]

    assert sides == [(16, 16, 3)] * 3 + [(32, 32, 3)] * 3
    assert [path.suffix for path in paths] == [".png", ".jpg", ".png"] * 2


def test_drawn_image_looks_like_a_photograph_to_the_spectrum():
    from scan_profile import _textured_image

    power = np.abs(np.fft.fft2(_textured_image(128, seed=0)[..., 0].astype(float))) ** 2

    # An amplitude of 1/f: 16 times the frequency has 1/256 of the power.
    assert power[2:4, 2:4].mean() > 50 * power[32:48, 32:48].mean()


def test_scan_is_profiled_with_rows_written(paths, tmp_path):
    from scan_profile import profile_scan

    summary = profile_scan(paths, FakeEngine(), StreamOptions(workers=1), tmp_path / "rows.jsonl")

    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["path"] for row in rows] == [str(path) for path in paths]
    assert (summary.images, summary.failed) == (6, 0)
    stages = {stage.name: stage.busy_seconds for stage in summary.stages}
    assert stages["decode"] > 0
    assert stages["write"] > 0


def test_every_number_of_workers_is_measured_against_the_model_alone(paths, monkeypatch, capsys):
    import scan_profile

    engine = FakeEngine()
    monkeypatch.setattr(scan_profile, "open_engine", lambda **_: engine)
    arguments = argparse.Namespace(device="auto", threads=0, batch=4, workers=[1, 2])

    results = scan_profile.measure(paths, arguments)

    assert engine.batches[:3] == [4, 4, 2]  # warm-up, then the six images
    assert [scan["workers"] for scan in results["scans"]] == [1, 2]
    assert results["model_alone_images_per_second"] > 0
    assert json.loads(json.dumps(results)) == json.loads(json.dumps(results, allow_nan=False))
    assert "model alone" in capsys.readouterr().out


def test_folder_without_images_is_refused():
    from scan_profile import measure

    with pytest.raises(UsageError, match="no images to scan"):
        measure([], argparse.Namespace())
