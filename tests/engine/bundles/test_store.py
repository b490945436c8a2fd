from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from lineup.bundles import bundle as bundle_module
from lineup.bundles import store as store_module
from lineup.bundles.bundle import open_bundle
from lineup.bundles.store import BundleStore
from lineup.errors import BundleError, BundleIntegrityError, BundleNotFoundError, UsageError

LARGE = b"shared weights"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def die_in_install(directory: Path, home: Path, *, overwrite: bool = False) -> None:
    """Install in a process that dies, without any cleaning up, when the bundle should appear."""
    program = f"""
        import os
        from pathlib import Path
        from lineup.bundles.store import BundleStore
        rename = Path.rename
        def die_for_new(self, target):
            return os._exit(9) if self.name == "new" else rename(self, target)
        Path.rename = die_for_new
        store = BundleStore(Path({str(home)!r}), shipped=Path({str(home / "none")!r}))
        store.install(Path({str(directory)!r}), overwrite={overwrite})
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, check=False
    )
    assert done.returncode == 9, done.stderr


def test_an_installed_bundle_is_found_by_name(store: BundleStore, toy: Any, home: Path) -> None:
    installed = store.install(toy.path)
    shutil.rmtree(toy.path)
    assert store.open("toy") == installed
    assert installed.path == home / "bundles" / "toy"
    assert installed.digest == toy.digest
    (entry,) = store.list()
    assert (entry.name, entry.shipped, entry.problem) == ("toy", False, None)
    assert entry.manifest == toy.manifest
    assert names(home / "staging") == []


def test_installing_again_changes_nothing(store: BundleStore, toy: Any) -> None:
    installed = store.install(toy.path)
    inode = installed.graph_path("fingerprint").stat().st_ino
    assert store.install(toy.path) == installed
    assert store.install(installed.path) == installed
    assert installed.graph_path("fingerprint").stat().st_ino == inode


def test_another_bundle_of_the_name_needs_overwrite(
    store: BundleStore, toy: Any, tmp_path: Path, build: Any, home: Path
) -> None:
    store.install(toy.path)
    other = build.write_toy(tmp_path / "other", weights=[b"new"])
    with pytest.raises(UsageError, match="Another bundle 'toy' is installed already"):
        store.install(other.path)
    assert store.open("toy").digest == toy.digest
    store.install(other.path, overwrite=True)
    assert store.open("toy").digest == other.digest
    assert names(home / "blobs") == [f"sha256-{build.sha256(b'new')}"]
    assert names(home / "staging") == []


def test_a_damaged_bundle_is_repaired_by_installing_it_again(
    store: BundleStore, toy: Any, home: Path
) -> None:
    installed = store.install(toy.path)
    weight = next((installed.path / "weights").iterdir())
    weight.write_bytes(b"x" * 12)  # the blob is the same file
    with pytest.raises(BundleIntegrityError):
        store.open("toy")
    store.install(toy.path)
    assert store.open("toy").digest == toy.digest
    assert (home / "blobs" / weight.name).read_bytes() == b"some weights"


def test_a_bad_bundle_is_not_installed(store: BundleStore, toy: Any, home: Path) -> None:
    (toy.path / "extra" / "notes.txt").write_bytes(b"jello")
    with pytest.raises(BundleIntegrityError):
        store.install(toy.path)
    assert not (home / "bundles").exists()


def test_bundles_share_their_weights(
    store: BundleStore, tmp_path: Path, build: Any, home: Path
) -> None:
    paths = []
    for name in ("a", "b"):
        bundle = build.write_toy(tmp_path / name, name=name, weights=[LARGE])
        paths += list((store.install(bundle.path).path / "weights").iterdir())
    assert paths[0].samefile(paths[1])
    assert paths[0].samefile(home / "blobs" / paths[0].name)
    assert paths[0].stat().st_nlink == 3


def test_without_hard_links_weights_are_copied(
    store: BundleStore, toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    store.install(toy.path)
    assert store.open("toy").digest == toy.digest


@pytest.mark.parametrize("links", [True, False])
def test_removing_frees_the_weights_that_nobody_uses(
    store: BundleStore,
    tmp_path: Path,
    build: Any,
    monkeypatch: pytest.MonkeyPatch,
    links: bool,
) -> None:
    home = tmp_path / "home"
    if not links:
        # Copies: the number of links says nothing about who uses a blob.
        monkeypatch.setattr(os, "link", shutil.copyfile)
    for name, own in (("a", b"only a"), ("b", b"only b")):
        store.install(build.write_toy(tmp_path / name, name=name, weights=[LARGE, own]).path)
    assert len(names(home / "blobs")) == 3
    store.remove("a")
    assert names(home / "blobs") == sorted(f"sha256-{build.sha256(x)}" for x in (LARGE, b"only b"))
    assert store.open("b")
    store.remove("b")
    assert names(home / "blobs") == names(home / "bundles") == names(home / "staging") == []


def test_weights_of_a_bundle_with_a_broken_manifest_are_kept(
    store: BundleStore, tmp_path: Path, build: Any, home: Path
) -> None:
    for name in ("a", "b"):
        weights = [name.encode()]
        store.install(build.write_toy(tmp_path / name, name=name, weights=weights).path)
    (home / "bundles" / "a" / "manifest.json").write_text("{")
    store.remove("b")
    assert names(home / "blobs") == [f"sha256-{build.sha256(b'a')}"]


def test_a_broken_bundle_is_listed_with_its_problem_and_can_be_removed(
    store: BundleStore, toy: Any
) -> None:
    installed = store.install(toy.path)
    (installed.path / "manifest.json").write_text("{")
    (entry,) = store.list()
    assert entry.manifest is None
    assert "not JSON" in str(entry.problem)
    store.remove("toy")
    assert store.list() == ()


def test_verify_has_one_line_per_file(store: BundleStore, toy: Any) -> None:
    installed = store.install(toy.path)
    checks = store.verify("toy")
    weight = next((installed.path / "weights").iterdir())
    assert [check.path for check in checks] == [
        "manifest.json", "fingerprint.onnx", f"weights/{weight.name}", "extra/notes.txt",
    ]  # fmt: skip
    assert not any(check.problem for check in checks)
    weight.unlink()
    (installed.path / "extra" / "notes.txt").write_bytes(b"hell")
    assert [check.problem for check in store.verify("toy")] == [
        None, None, "missing", "truncated: expected 5 bytes, found 4",
    ]  # fmt: skip
    (installed.path / "manifest.json").write_text("{}")
    (only,) = store.verify("toy")
    assert only.path == "manifest.json"
    assert "missing, but required" in str(only.problem)


def test_shipped_bundles_are_there_and_stay(store: BundleStore, tmp_path: Path, build: Any) -> None:
    shipped = build.write_toy(tmp_path / "shipped" / "default", name="default")
    assert store.open("default") == shipped
    assert [(entry.name, entry.shipped) for entry in store.list()] == [("default", True)]
    with pytest.raises(UsageError, match="comes with lineup and cannot be removed"):
        store.remove("default")
    other = build.write_toy(tmp_path / "x", name="default", weights=[b"new"])
    with pytest.raises(UsageError, match="belongs to a bundle that comes with lineup"):
        store.install(other.path, overwrite=True)
    assert store.open("default") == shipped


def test_an_installed_bundle_hides_a_shipped_one_and_can_be_removed(
    store: BundleStore, tmp_path: Path, build: Any
) -> None:
    mine = build.write_toy(tmp_path / "x", weights=[b"mine"])
    store.install(mine.path)
    shipped = build.write_toy(tmp_path / "shipped" / "toy")
    assert store.open("toy").digest == mine.digest
    assert [entry.shipped for entry in store.list()] == [False]
    store.remove("toy")
    assert store.open("toy").digest == shipped.digest


def test_a_path_is_a_path_and_a_name_a_name(
    store: BundleStore,
    toy: Any,
    tmp_path: Path,
    build: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed = store.install(build.write_toy(tmp_path / "y", weights=[b"installed"]).path)
    empty = tmp_path / "elsewhere"
    (empty / "toy").mkdir(parents=True)
    monkeypatch.chdir(empty)
    assert store.open("toy") == installed  # a folder without a manifest is no bundle
    assert store.open(str(toy.path)) == toy
    assert store.open(toy.path) == toy
    monkeypatch.chdir(tmp_path)
    assert store.open("toy") == toy
    with pytest.raises(BundleNotFoundError, match="no such folder"):
        store.open("./absent")


@pytest.mark.parametrize("name", ["tou", "..", ".hidden", "", "nothing-like-it"])
def test_an_unknown_name_lists_those_that_exist(store: BundleStore, toy: Any, name: str) -> None:
    store.install(toy.path)
    for use in (store.open, store.verify, store.remove):
        with pytest.raises(BundleNotFoundError, match="there are: toy") as caught:
            use(name)
        assert ("Did you mean 'toy'" in str(caught.value.hint)) == (name == "tou")


def test_an_empty_store_says_so_and_creates_nothing(store: BundleStore, home: Path) -> None:
    assert store.list() == ()
    with pytest.raises(BundleNotFoundError, match="none is installed"):
        store.open("toy")
    assert not home.exists()


def test_what_else_lies_among_bundles_is_none(store: BundleStore, toy: Any, home: Path) -> None:
    store.install(toy.path)
    (home / "bundles" / "notes").write_text("mine")
    (home / "bundles" / ".Trash").mkdir()

    assert [one.name for one in store.list()] == ["toy"]
    store.remove("toy")
    assert store.list() == ()


def test_a_failing_rename_leaves_no_bundle(
    store: BundleStore, toy: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, target: Path) -> Path:
        raise OSError("disk error")

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(BundleError, match="cannot be changed: disk error"):
        store.install(toy.path)
    monkeypatch.undo()
    assert store.list() == ()
    assert names(home / "bundles") == names(home / "staging") == names(home / "blobs") == []
    store.install(toy.path)
    assert store.open("toy")


def test_a_killed_install_leaves_no_bundle_and_is_tidied_up(
    store: BundleStore, toy: Any, tmp_path: Path, build: Any, home: Path
) -> None:
    die_in_install(toy.path, home)
    assert store.list() == ()
    assert len(names(home / "staging")) == 1
    store.install(build.write_toy(tmp_path / "o", name="other", weights=[b"o"]).path)
    assert [entry.name for entry in store.list()] == ["other"]
    assert names(home / "staging") == []
    assert names(home / "blobs") == [f"sha256-{build.sha256(b'o')}"]


def test_a_killed_overwrite_gives_the_old_bundle_back(
    store: BundleStore, toy: Any, tmp_path: Path, build: Any, home: Path
) -> None:
    store.install(toy.path)
    new = build.write_toy(tmp_path / "new-toy", weights=[b"new"])
    die_in_install(new.path, home, overwrite=True)
    assert names(home / "bundles") == []
    store.install(build.write_toy(tmp_path / "o", name="other").path)
    assert store.open("toy").digest == toy.digest


@pytest.mark.parametrize("read", ["open", "verify"])
def test_a_reader_gives_back_what_a_killed_overwrite_put_aside(
    store: BundleStore, toy: Any, tmp_path: Path, build: Any, home: Path, read: str
) -> None:
    store.install(toy.path)
    die_in_install(build.write_toy(tmp_path / "new", weights=[b"new"]).path, home, overwrite=True)
    assert getattr(store, read)("toy")
    assert store.open("toy").digest == toy.digest
    assert names(home / "staging") == []


def test_a_bundle_that_is_replaced_while_it_is_read_is_read_again(
    store: BundleStore, toy: Any, tmp_path: Path, build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.install(toy.path)
    new = build.write_toy(tmp_path / "new", weights=[b"new"])
    read_bundle, installed = bundle_module.read_bundle, []

    def replaced(path: Path) -> Any:
        found = read_bundle(path)
        if path.parent.name == "bundles" and not installed:
            installed.append(path)
            store.install(new.path, overwrite=True)
        return found

    for module in (bundle_module, store_module):
        monkeypatch.setattr(module, "read_bundle", replaced)
    assert store.open("toy").digest == new.digest
    installed.clear()
    new = toy
    assert not any(check.problem for check in store.verify("toy"))


def test_a_source_that_changes_while_it_is_copied_is_not_installed(
    store: BundleStore, toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    copyfile = shutil.copyfile

    def alter(source: Path, target: Path) -> Path:
        copyfile(source, target)
        if Path(source).name == "notes.txt":
            Path(target).write_bytes(b"jello")
        return Path(target)

    monkeypatch.setattr(shutil, "copyfile", alter)
    with pytest.raises(BundleIntegrityError, match="altered"):
        store.install(toy.path)
    assert store.list() == ()


def test_installs_at_the_same_time_are_safe(
    store: BundleStore, tmp_path: Path, build: Any, home: Path
) -> None:
    bundles = [build.write_toy(tmp_path / f"b{i}", name=f"b{i}", weights=[LARGE]) for i in range(4)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda bundle: store.install(bundle.path), bundles * 2))
    assert [entry.name for entry in store.list()] == ["b0", "b1", "b2", "b3"]
    for bundle in bundles:
        assert open_bundle(home / "bundles" / bundle.manifest.name).digest == bundle.digest


def test_a_busy_store_is_reported(toy: Any, home: Path) -> None:
    store = BundleStore(home, shipped=home / "none", lock_timeout_s=0.05)
    store.install(toy.path)
    with (
        FileLock(home / "bundles.lock"),
        pytest.raises(BundleError, match="Another process has been changing"),
    ):
        store.remove("toy")
    assert store.open("toy")


def test_a_home_that_cannot_be_written_is_reported(toy: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BundleError, match="cannot be changed"):
        BundleStore(tmp_path / "file" / "home").install(toy.path)


def test_importing_the_bundles_loads_neither_onnx_nor_filelock() -> None:
    program = (
        "import sys, lineup.bundles.store, lineup.bundles.writer\n"
        "print([name for name in ('filelock', 'onnx', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
