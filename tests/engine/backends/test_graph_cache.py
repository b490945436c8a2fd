import dataclasses
import json
import os

import pytest

from lineup.backends.graph_cache import RECORD_NAME, GraphCache, GraphKey
from lineup.errors import BackendError

KEY = GraphKey(
    graph="a" * 64,
    backend="tensorrt-rtx",
    release="1.7.1",
    machine="8.6",
    profile={"x": ((1, 3), (2, 3), (4, 3))},
    flags=(),
)
OTHERS = {
    "graph": "b" * 64,
    "backend": "tensorrt",
    "release": "1.7.2",
    "machine": "8.9",
    "profile": {"x": ((1, 3), (2, 3), (8, 3))},
    "flags": ("weight-streaming",),
}


@pytest.fixture
def cache(tmp_path):
    return GraphCache(tmp_path / "graphs")


def add(cache, key=KEY, plan=b"plan"):
    def compile_to(folder):
        (folder / "weights.bin").write_bytes(b"weights")
        (folder / "engine.plan").write_bytes(plan)
        return folder / "engine.plan"

    return cache.add(key, bundle="toy", role="unet", compile_to=compile_to)


def test_a_graph_is_found_again(cache):
    assert cache.find(KEY) is None
    added = add(cache)
    found = cache.find(KEY)
    assert found == added
    assert found.path.read_bytes() == b"plan"
    assert (found.size_bytes, found.bundle, found.role) == (11, "toy", "unet")
    assert list(cache.list()) == [found]


def test_every_field_of_the_key_makes_another_graph():
    assert set(OTHERS) == {field.name for field in dataclasses.fields(GraphKey)}
    keys = [KEY, *(dataclasses.replace(KEY, **{name: value}) for name, value in OTHERS.items())]
    assert len({key.digest for key in keys}) == len(keys)


@pytest.mark.parametrize("field", list(OTHERS))
def test_a_graph_for_something_else_is_not_used(cache, field):
    add(cache)
    assert cache.find(dataclasses.replace(KEY, **{field: OTHERS[field]})) is None


@pytest.mark.parametrize("field", list(OTHERS))
def test_what_another_release_left_is_removed_and_nothing_else(cache, field):
    other = add(cache, dataclasses.replace(KEY, **{field: OTHERS[field]}))
    add(cache)
    assert other.path.exists() == (field != "release")


def test_damage_is_seen_and_a_copy_is_not_damage(cache):
    path = add(cache).path
    os.utime(path, ns=(1, 1))
    assert cache.find(KEY) is not None
    path.write_bytes(b"plam")
    assert cache.find(KEY) is None
    assert add(cache) == cache.find(KEY)


def test_a_record_of_something_else_is_not_read(cache):
    record = add(cache).path.with_name(RECORD_NAME)
    raw = json.loads(record.read_text())
    raw["key"]["release"] = "0.9"
    record.write_text(json.dumps(raw))
    assert cache.find(KEY) is None
    record.write_text("{")
    assert cache.find(KEY) is None


def test_a_full_disk_leaves_nothing_behind(cache):
    def full(folder):
        raise OSError(28, "No space left on device")

    with pytest.raises(BackendError, match="No space left"):
        cache.add(KEY, bundle="toy", role="unet", compile_to=full)
    assert not list(cache.folder.iterdir())


def test_the_graph_that_is_there_serves_until_the_new_one_is_ready(cache):
    add(cache)

    def look(folder):
        assert cache.find(KEY) is not None
        raise OSError(28, "No space left on device")

    with pytest.raises(BackendError, match="No space left"):
        cache.add(KEY, bundle="toy", role="unet", compile_to=look)
    assert cache.find(KEY) is not None


def test_a_graph_that_others_have_compiled_meanwhile_is_replaced(cache):
    def compile_to(folder):
        add(cache)
        (folder / "late.plan").write_bytes(b"late")
        return folder / "late.plan"

    added = cache.add(KEY, bundle="toy", role="unet", compile_to=compile_to)

    assert cache.find(KEY) == added
    assert added.path.read_bytes() == b"late"


def test_all_that_was_made_of_a_graph_is_removed(cache):
    gone = add(cache)
    kept = add(cache, dataclasses.replace(KEY, graph="b" * 64))
    cache.remove({KEY.graph})
    assert list(cache.list()) == [kept]
    assert not gone.path.parent.exists()
