"""A gallery folder survives crashes, kills and several writers at once."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from lineup.errors import GalleryError
from lineup.gallery.store import GalleryStore


def source_files(store: GalleryStore) -> list[str]:
    return sorted(path.name for path in (store.path / "sources").iterdir())


def named_files(store: GalleryStore) -> list[str]:
    manifest = store.manifest()
    assert manifest is not None
    return sorted(record.file for record in manifest.sources.values())


class Crash(BaseException):
    """Not an Exception, so that no handler can swallow it: what a kill looks like from inside."""


STEPS = ("first source", "second source", "manifest", "first delete", "second delete")


@pytest.fixture
def galleries(make_support, make_gallery):
    """Return two states of a gallery with two sources."""
    return tuple(make_gallery(make_support("sd", n), make_support("dalle3", n)) for n in (2, 4))


@pytest.fixture
def crash_at(monkeypatch):
    """Return a context in which the change dies before or after one of `STEPS`."""
    replace, unlink = Path.replace, Path.unlink

    @contextlib.contextmanager
    def patched(step, when):
        steps = []

        def reach(function, path, *args, **kwargs):
            steps.append(path)
            due = len(steps) == step + 1
            if due and when == "before":
                raise Crash
            result = function(path, *args, **kwargs)
            if due:
                raise Crash
            return result

        def reach_unlink(path, **kwargs):
            # Hidden files are the leavings of a failed write, not files of the gallery.
            return unlink(path, **kwargs) if path.name[0] == "." else reach(unlink, path, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", lambda path, target: reach(replace, path, target))
            patch.setattr(Path, "unlink", reach_unlink)
            yield
            assert len(steps) == step + 1

    return patched


class TestCrashing:
    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize("step", range(len(STEPS)), ids=STEPS)
    def test_every_step_leaves_the_last_good_state(self, store, galleries, crash_at, step, when):
        old, new = galleries
        store.merge(old)
        digest = store.read().digest
        with crash_at(step, when), pytest.raises(Crash):
            store.merge(new)
        committed = step > STEPS.index("manifest") or (STEPS[step], when) == ("manifest", "after")
        assert (store.read().digest != digest) is committed
        store.merge(new)
        assert {len(support) for support in store.read().sources.values()} == {4}
        store.remove("sd")
        assert source_files(store) == named_files(store)

    def test_leavings_of_a_crash_go_with_the_next_change(self, store, add, make_support):
        add(store, make_support(count=2))
        orphan = store.path / "sources" / "sd-0123456789ab.safetensors"
        partial = store.path / "sources" / ".sd-0123456789ab.safetensors.x1"
        manifest = store.path / ".manifest.json.x2"
        for path in (orphan, partial, manifest):
            path.write_bytes(b"half")
        assert list(store.read().sources) == ["dalle3"]
        add(store, make_support(count=3))
        assert not any(path.exists() for path in (orphan, partial, manifest))

    def test_killed_writers_leave_a_readable_gallery(self, store, tmp_path):
        script = tmp_path / "enrol.py"
        script.write_text(WRITER)
        counts = []
        for delay_ms in (0, 3, 11, 23, 40):
            child = subprocess.Popen(
                [sys.executable, str(script), str(store.path), "sd", "100000"],
                stdout=subprocess.PIPE,
                text=True,
            )
            assert child.stdout is not None
            child.stdout.readline()  # the first commit is done
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(timeout=delay_ms / 1000 + 0.05)
            child.kill()
            child.communicate()
            counts.append(len(store.read().source("sd")))
        assert counts == sorted(set(counts))  # every run went on where the killed one stopped


WRITER = """
import hashlib, sys
from pathlib import Path
import numpy as np
from lineup.gallery.store import GalleryStore

path, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
store = GalleryStore(path)
first = len(store.ids(name))
for number in range(first, first + count):
    row = np.random.default_rng(number).standard_normal((1, 64))
    row = (row / np.linalg.norm(row)).astype(np.float32)
    image_id = hashlib.sha256(f"{name}/{number}".encode()).hexdigest()
    assert store.add(name, row, [image_id], fingerprint_digest="a" * 64) == 1
    print(number, flush=True)
"""


class TestConcurrency:
    def test_two_writers_lose_nothing(self, store, tmp_path):
        script = tmp_path / "enrol.py"
        script.write_text(WRITER)
        children = [
            subprocess.Popen(
                [sys.executable, str(script), str(store.path), name, "25"],
                stdout=subprocess.DEVNULL,
            )
            for name in ("sd", "dalle3")
        ]
        assert [child.wait(timeout=120) for child in children] == [0, 0]
        gallery = store.read()
        assert {name: len(support) for name, support in gallery.sources.items()} == {
            "dalle3": 25,
            "sd": 25,
        }
        assert source_files(store) == named_files(store)

    def test_a_writer_that_never_ends_is_an_error(self, store, add, make_support, tmp_path):
        add(store, make_support(count=1))
        impatient = GalleryStore(store.path, lock_timeout_s=0.05)
        with (
            FileLock(store.path / ".lock"),
            pytest.raises(GalleryError, match="another process has been changing"),
        ):
            add(impatient, make_support(count=2))
        assert len(store.read().source("dalle3")) == 1

    def test_a_folder_that_cannot_be_written_is_an_error(self, tmp_path, add, make_support):
        (tmp_path / "file").touch()
        with pytest.raises(GalleryError, match="cannot change the gallery"):
            add(GalleryStore(tmp_path / "file" / "gallery"), make_support())
