import hashlib

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


def test_hashes_agree(tmp_path):
    data = bytes(range(256)) * 10_000
    (tmp_path / "file").write_bytes(data)

    assert files.sha256_from_bytes(data) == hashlib.sha256(data).hexdigest()
    assert files.sha256_from_file(tmp_path / "file") == files.sha256_from_bytes(data)
