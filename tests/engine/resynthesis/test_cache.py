import multiprocessing
import os

import numpy as np
import pytest

from lineup.errors import UsageError
from lineup.resynthesis.cache import ResultCache, open_cache

MIB = 2**20


def noise(seed, side=64):
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def size_bytes(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_a_reduced_precision_has_results_of_its_own(tmp_path):
    parts = {"generator": "x"}
    ResultCache(tmp_path).write_features(parts, np.ones(3, np.float32))

    assert ResultCache(tmp_path, precision="bf16").features(parts) is None
    assert ResultCache(tmp_path).features(parts) is not None


def test_what_was_written_comes_back_exactly(tmp_path):
    cache = ResultCache(tmp_path)
    vector = np.random.default_rng(0).normal(size=9).astype(np.float32)

    cache.write_image({"prompt": "a", "seed": 1}, noise(0))
    cache.write_features({"of": {"seed": 1}}, vector)

    again = ResultCache(tmp_path)
    assert np.array_equal(again.image({"seed": 1, "prompt": "a"}), noise(0))
    assert np.array_equal(again.features({"of": {"seed": 1}}), vector)


@pytest.mark.parametrize("parts", [{"seed": 2}, {"seed": "1"}, {"seed": 1, "prompt": ""}])
def test_a_result_belongs_to_all_that_it_follows_from(tmp_path, parts):
    cache = ResultCache(tmp_path)
    cache.write_image({"seed": 1}, noise(0))

    assert cache.image(parts) is None


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_spoilt_file_is_dropped_and_made_again(tmp_path, keep):
    cache = ResultCache(tmp_path)
    cache.write_image({"a": 1}, noise(0))
    cache.write_features({"a": 1}, np.ones(3, np.float32))
    for path in tmp_path.glob("??/*"):
        path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])

    assert cache.image({"a": 1}) is None
    assert cache.features({"a": 1}) is None
    assert not list(tmp_path.glob("??/*"))


def test_the_folder_stays_below_its_limit_and_the_unused_go_first(tmp_path):
    cache = ResultCache(tmp_path, limit_mib=1)
    for seed in range(10):
        cache.write_image({"seed": seed}, noise(seed, 128))  # 49 kB that do not compress
        path = next(p for p in tmp_path.glob("??/*") if p.stat().st_mtime > 1e9)
        os.utime(path, (seed, seed))
    assert cache.image({"seed": 0}) is not None  # used just now, so it stays

    for seed in range(10, 30):
        cache.write_image({"seed": seed}, noise(seed, 128))

    assert size_bytes(tmp_path) <= MIB
    assert cache.image({"seed": 0}) is not None
    assert cache.image({"seed": 1}) is None
    assert cache.image({"seed": 29}) is not None


def test_a_folder_that_was_full_before_is_cut_by_the_next_process(tmp_path):
    large = ResultCache(tmp_path, limit_mib=4)
    for seed in range(40):
        large.write_image({"seed": seed}, noise(seed, 128))
    assert size_bytes(tmp_path) > MIB

    ResultCache(tmp_path, limit_mib=1).write_image({"seed": 99}, noise(99, 128))

    assert size_bytes(tmp_path) <= MIB


def test_a_folder_that_cannot_be_written_is_no_reason_to_fail(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    cache = ResultCache(blocked)

    cache.write_image({"a": 1}, noise(0))

    assert cache.image({"a": 1}) is None


def _hammer(folder, first):
    cache = ResultCache(folder, limit_mib=1)
    for seed in range(40):
        image = cache.image({"seed": seed})
        if image is not None:
            assert np.array_equal(image, noise(seed, 128))
        cache.write_image({"seed": (first + seed) % 40}, noise((first + seed) % 40, 128))


def test_two_processes_may_use_one_folder(tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_hammer, args=(tmp_path, first)) for first in (0, 20)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)

    assert [worker.exitcode for worker in workers] == [0, 0]
    assert size_bytes(tmp_path) <= 1.2 * MIB
    assert not list(tmp_path.glob("??/.*"))


def test_the_cache_lies_in_the_home_folder(lineup_home):
    open_cache().write_image({"a": 1}, noise(0))

    assert list((lineup_home / "cache").rglob("*.png"))


@pytest.mark.parametrize("text", ["0", "-1", "much"])
def test_a_limit_that_is_none_is_an_error(monkeypatch, text):
    monkeypatch.setenv("LINEUP_CACHE_MIB", text)

    with pytest.raises(UsageError, match="LINEUP_CACHE_MIB"):
        open_cache()
