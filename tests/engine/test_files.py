import hashlib
import subprocess
import sys

import pytest

from lineup import files


def test_write_atomic_replaces_the_whole_file(tmp_path):
    path = tmp_path / "folder" / "file"
    files.write_atomic(path, b"old")
    files.write_atomic(path, b"new")

    assert path.read_bytes() == b"new"
    assert [child.name for child in path.parent.iterdir()] == ["file"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    files.write_atomic(path, b"old")

    def disk_full(handle):
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "fsync", disk_full)

    with pytest.raises(OSError, match="disk full"):
        files.write_atomic(path, b"new")

    assert path.read_bytes() == b"old"
    assert [child.name for child in tmp_path.iterdir()] == ["file"]


def test_staged_directory_appears_whole(tmp_path):
    with files.staged_directory(tmp_path / "target") as staging:
        (staging / "file").write_bytes(b"x")
        assert not (tmp_path / "target").exists()

    assert [child.name for child in tmp_path.iterdir()] == ["target"]


def test_a_failed_staging_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="parity"), files.staged_directory(tmp_path / "target"):
        raise ValueError("parity")

    assert list(tmp_path.iterdir()) == []


def test_staging_refuses_an_existing_target(tmp_path):
    with pytest.raises(FileExistsError), files.staged_directory(tmp_path):
        pass


@pytest.fixture
def killed_beside(tmp_path):
    """Run statements with `staging` beside `tmp_path/target` in a process that is then killed."""

    def kill(statements=""):
        program = (
            "import os, pathlib\n"
            "from lineup.files import temporary_directory_beside\n"
            f"target = pathlib.Path({str(tmp_path / 'target')!r})\n"
            "with temporary_directory_beside(target) as staging:\n"
            "    (staging / 'part').touch()\n"
            f"    {statements}\n"
            "    os.kill(os.getpid(), 9)\n"
        )
        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9

    return kill


def test_what_a_killed_process_staged_is_removed_by_the_next(tmp_path, killed_beside):
    killed_beside()
    assert [child.name for child in tmp_path.glob(".target.*/new/*")] == ["part"]

    with files.staged_directory(tmp_path / "target"):
        assert not list(tmp_path.glob(".target.*/new/*"))

    assert [child.name for child in tmp_path.iterdir()] == ["target"]


def test_folders_of_the_living_and_of_others_stay(tmp_path, killed_beside):
    killed_beside()
    others = [tmp_path / ".target.backup", tmp_path / ".target.lineup-without-lock"]
    for other in others:
        other.mkdir()

    target = tmp_path / "target"
    with files.temporary_directory_beside(tmp_path / "target2") as unlike:
        with files.temporary_directory_beside(target) as first:
            with files.temporary_directory_beside(target) as second:
                assert first != second
                assert first.is_dir()
            assert first.is_dir()
        assert unlike.is_dir()

    assert sorted(tmp_path.iterdir()) == sorted(others)


def test_a_folder_put_aside_by_a_killed_process_is_kept_until_the_target_is_there(
    tmp_path, killed_beside
):
    target = tmp_path / "target"
    target.mkdir()
    killed_beside("target.rename(staging.with_name('old'))")

    with files.temporary_directory_beside(target):
        assert len(list(tmp_path.glob(".target.*/old"))) == 1
    target.mkdir()
    with files.temporary_directory_beside(target):
        assert not list(tmp_path.glob(".target.*/old"))


def test_without_locks_nothing_is_taken_for_abandoned(tmp_path, killed_beside, monkeypatch):
    killed_beside()

    def unsupported(*_, **__):
        raise NotImplementedError

    monkeypatch.setattr("filelock.FileLock.acquire", unsupported)
    with files.staged_directory(tmp_path / "target"):
        pass

    assert len(list(tmp_path.glob(".target.*/new/part"))) == 1
    assert (tmp_path / "target").is_dir()


def test_hashes_agree(tmp_path):
    data = bytes(range(256)) * 10_000
    (tmp_path / "file").write_bytes(data)

    assert files.sha256_from_bytes(data) == hashlib.sha256(data).hexdigest()
    assert files.sha256_from_file(tmp_path / "file") == files.sha256_from_bytes(data)
