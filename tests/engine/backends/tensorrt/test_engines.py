import dataclasses
import json

import pytest

from lineup.backends.tensorrt.engines import EngineCache, EngineKey
from lineup.errors import BackendError

KEY = EngineKey(
    graph="a" * 64,
    refittable=False,
    backend="tensorrt-rtx",
    version="1.7.1",
    compute_capability="8.6",
    precision="fp16",
    profile={"x": ((1, 3), (2, 3), (4, 3))},
    flags=(),
)
OTHERS = {
    "graph": "b" * 64,
    "refittable": True,
    "backend": "tensorrt",
    "version": "1.7.2",
    "compute_capability": "8.9",
    "precision": "fp32",
    "profile": {"x": ((1, 3), (2, 3), (8, 3))},
    "flags": ("weight-streaming",),
}


@pytest.fixture
def cache(tmp_path):
    return EngineCache(tmp_path / "engines")


def write(cache, key=KEY, plan=b"plan"):
    return cache.write(key, plan, build_seconds=1.5, bundle="toy", role="unet")


def test_an_engine_is_found_again(cache):
    assert cache.find(KEY) is None
    written = write(cache)
    found = cache.find(KEY)
    assert found == written
    assert found.path.read_bytes() == b"plan"
    assert (found.size_bytes, found.build_seconds, found.bundle, found.role) == (
        4, 1.5, "toy", "unet",
    )  # fmt: skip
    assert list(cache.list()) == [found]


def test_every_field_of_the_key_makes_another_engine():
    assert set(OTHERS) == {field.name for field in dataclasses.fields(EngineKey)}


@pytest.mark.parametrize("field", list(OTHERS))
def test_an_engine_for_something_else_is_not_used(cache, field):
    write(cache)
    assert cache.find(dataclasses.replace(KEY, **{field: OTHERS[field]})) is None


def test_a_damaged_plan_is_not_used(cache):
    write(cache).path.write_bytes(b"plam")
    assert cache.find(KEY) is None
    assert write(cache) == cache.find(KEY)


def test_a_record_that_tells_of_another_key_is_stale(cache):
    record = write(cache).path.with_name("engine.json")
    raw = json.loads(record.read_text())
    raw["key"]["version"] = "0.9"
    record.write_text(json.dumps(raw))
    assert cache.find(KEY) is None


def test_a_full_disk_leaves_nothing_behind(cache, monkeypatch):
    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lineup.backends.tensorrt.engines.sha256_from_file", full)
    with pytest.raises(BackendError, match="No space left"):
        write(cache)
    assert not list(cache.folder.iterdir())
