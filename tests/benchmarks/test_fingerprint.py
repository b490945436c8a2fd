from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

TILE_PX = 256
PEAKS = {"peak_rss_mib": 90.0, "peak_anonymous_mib": 40.0, "peak_file_backed_mib": 50.0}


class FakeWorker:
    """Stands in for a measuring process: the published pipeline takes 60 ms, the shipped 4 ms."""

    calls: list[tuple[str, str]]

    def __init__(self, pipeline, threads, bundle, *, watch):
        self.pipeline = pipeline
        self.memory = PEAKS if watch else None
        self.about = {"name": pipeline, "runtime": f"{threads} threads", "memory": self.memory}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def call(self, case, min_seconds=0.0):
        self.calls.append((self.pipeline, case.title))
        ms = {"shipped": 4.0, "published": 60.0}[self.pipeline]
        return {"ms_per_image": {"wall": ms, "cpu": ms / 2}, "memory": self.memory}


@pytest.fixture
def fake_worker(monkeypatch):
    import fingerprint

    monkeypatch.setattr(FakeWorker, "calls", [], raising=False)
    monkeypatch.setattr(fingerprint, "Worker", FakeWorker)
    return FakeWorker


def test_json_line_has_times_ratio_and_memory(fake_worker, capsys):
    import fingerprint

    fingerprint.main(["--rounds", "1", "--warmup", "0", "--threads", "1", "--batch", "2", "--json"])

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    document = json.loads(lines[0])
    assert document["benchmark"] == "fingerprint"
    assert document["settings"]["threads"] == [1]
    results = document["results"]
    assert set(results) == {"pipelines", "times", "memory", "load_average"}
    assert set(results["pipelines"]) == {"shipped", "published"}
    assert set(results["times"]["1"]) == {"1 x 256 px", "1 x 512 px", "2 x 256 px"}
    for figures in results["times"]["1"].values():
        assert figures["shipped"]["median_ms"] == 4
        assert figures["published"]["p90_ms"] == 60
        assert figures["ratio"] == {"median": 15, "min": 15, "max": 15}
        assert figures["cpu_ratio"] == 15
    assert set(results["memory"]) == {"1 x 256 px", "1 x 512 px"}
    assert results["memory"]["1 x 256 px"]["shipped"] == {"loaded": PEAKS, "after_call": PEAKS}


def test_pipelines_take_turns_after_the_warm_up(fake_worker, capsys):
    import fingerprint

    fingerprint.main(["--rounds", "2", "--warmup", "1", "--sizes", "256", "--batch", "1"])

    timed = fake_worker.calls[:6]
    assert [pipeline for pipeline, _ in timed] == ["shipped", "published"] * 3
    assert "15 (15 to 15)" in capsys.readouterr().out


def test_ratio_is_formed_within_a_round():
    from fingerprint import _figures

    shipped = [{"wall": wall, "cpu": 1.0} for wall in (1.0, 2.0, 4.0)]
    published = [{"wall": wall, "cpu": 5.0} for wall in (10.0, 40.0, 40.0)]

    figures = _figures({"shipped": shipped, "published": published})

    assert figures["ratio"] == {"median": 10, "min": 10, "max": 20}
    assert figures["shipped"]["median_ms"] == 2
    assert figures["cpu_ratio"] == 5


@pytest.mark.parametrize("arguments", [["--rounds", "0"], ["--threads", "0"], ["--sizes", "300"]])
def test_settings_that_measure_nothing_are_refused(arguments, capsys):
    from fingerprint import parse_arguments

    with pytest.raises(SystemExit):
        parse_arguments(arguments)
    assert f"{arguments[0]} " in capsys.readouterr().err


@pytest.mark.parametrize(("pipeline", "at_least_mib"), [("shipped", 30), ("published", 150)])
def test_child_process_measures_its_own_time_and_memory(pipeline, at_least_mib):
    from fingerprint import Case, Worker

    if pipeline == "published":
        pytest.importorskip("torch")
    with Worker(pipeline, threads=1, bundle=None, watch=True) as worker:
        answer = worker.call(Case(TILE_PX, images=1))

    assert answer["ms_per_image"]["wall"] > 0
    assert answer["ms_per_image"]["cpu"] > 0
    if not Path("/proc/self/status").exists():
        assert answer["memory"] is None
        return
    loaded, peaks = worker.about["memory"], answer["memory"]
    assert at_least_mib < loaded["peak_rss_mib"] <= peaks["peak_rss_mib"] < 4096
    assert 5 < peaks["peak_anonymous_mib"] < peaks["peak_rss_mib"]
    assert 5 < peaks["peak_file_backed_mib"] < peaks["peak_rss_mib"]
    if pipeline == "published":
        # 25.1 million fp32 weights alone.
        assert peaks["peak_anonymous_mib"] > 25.1e6 * 4 / 2**20


def test_published_networks_have_the_published_shapes():
    torch = pytest.importorskip("torch")
    from _published import SPECTRUM_PX, denoiser, resnet50

    convolutions = [part for part in denoiser() if isinstance(part, torch.nn.Conv2d)]
    shrinks_px = sum(part.kernel_size[0] - 1 for part in convolutions)
    assert len(convolutions) == 17
    assert {part.out_channels for part in convolutions[:-1]} == {64}
    assert TILE_PX - shrinks_px == SPECTRUM_PX == 222

    # torchvision.models.resnet50() has 25,557,032 parameters with its 1,000 classes.
    assert sum(part.numel() for part in resnet50(1000).parameters()) == 25_557_032


@pytest.fixture
def one_torch_thread():
    """On a busy machine several threads wait for each other longer than they compute."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_torch_thread")
def test_published_image_of_several_tiles_has_the_mean_of_their_embeddings():
    import torch

    from _published import open_published

    pipeline = open_published(threads=1)
    tiles = np.random.default_rng(0).integers(0, 256, (3, 36, 36, 3), dtype=np.uint8)

    fingerprints = pipeline.fingerprints_from_tiles([tiles[:2], tiles[2:]])

    with torch.inference_mode():
        first = pipeline(torch.from_numpy(tiles[:2])).mean(dim=0).numpy()
    assert fingerprints.shape == (2, 512)
    np.testing.assert_allclose(fingerprints[0], first / np.linalg.norm(first), atol=1e-5)


def test_tiles_are_those_of_the_runtime():
    from _fingerprint_worker import noise_images, tiles_side_by_side
    from lineup.imaging.tiles import TileSpec, tiles_from_image

    (pixels,) = noise_images(1, 2 * TILE_PX)

    expected = tiles_from_image(pixels, TileSpec(size_px=TILE_PX, max_tiles=16))
    np.testing.assert_array_equal(tiles_side_by_side(pixels, TILE_PX), expected)
