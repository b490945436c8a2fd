import json
import os

import pytest

from lineup.bundles import verified
from lineup.bundles.verified import VerifiedFiles
from lineup.files import sha256_from_bytes


@pytest.fixture(autouse=True)
def read(monkeypatch):
    """Every file counts as large and settled; what is read is noted."""
    seen = []
    hashed = verified.sha256_from_file
    monkeypatch.setattr(verified, "LARGE_BYTES", 4)
    monkeypatch.setattr(verified, "SETTLED_NS", -1)
    monkeypatch.setattr(
        verified, "sha256_from_file", lambda path: seen.append(path) or hashed(path)
    )
    return seen


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def files(tmp_path):
    return VerifiedFiles(tmp_path / "home" / "verified.json")


def test_a_large_file_is_read_once(files, weights, read, tmp_path):
    for one in (files, VerifiedFiles(tmp_path / "home" / "verified.json")):
        assert one.sha256(weights) == sha256_from_bytes(b"weights")

    assert read == [weights]


def test_a_small_file_is_read_every_time(files, tmp_path, read):
    path = tmp_path / "small"
    path.write_bytes(b"abc")

    for _ in range(2):
        files.sha256(path)

    assert len(read) == 2


def test_a_changed_file_is_read_again_even_if_its_time_is_put_back(files, weights):
    files.sha256(weights)
    before = weights.stat()
    weights.write_bytes(b"altered")  # as long as before
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert files.sha256(weights) == sha256_from_bytes(b"altered")


def test_a_replaced_file_is_read_again(files, weights, tmp_path):
    files.sha256(weights)
    other = tmp_path / "other"
    other.write_bytes(b"another")
    other.replace(weights)

    assert files.sha256(weights) == sha256_from_bytes(b"another")


def test_what_changed_a_moment_ago_is_not_trusted(files, weights, read, monkeypatch):
    monkeypatch.setattr(verified, "SETTLED_NS", 60 * 10**9)

    for _ in range(2):
        files.sha256(weights)

    assert len(read) == 2


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a": 1}', b'{"a": [1]}', b"\xff"])
def test_a_damaged_record_costs_time_only(files, weights, read, tmp_path, content):
    record = tmp_path / "home" / "verified.json"
    record.parent.mkdir()
    record.write_bytes(content)

    for _ in range(2):
        assert files.sha256(weights) == sha256_from_bytes(b"weights")

    assert read == [weights]


def test_files_that_are_gone_leave_the_record(files, weights, tmp_path):
    other = tmp_path / "other"
    other.write_bytes(b"another")
    files.sha256(other)
    other.unlink()

    files.sha256(weights)

    assert list(json.loads((tmp_path / "home" / "verified.json").read_bytes())) == [str(weights)]


def test_a_home_that_cannot_be_written_to_costs_time_only(weights, tmp_path, read):
    (tmp_path / "file").touch()
    files = VerifiedFiles(tmp_path / "file" / "verified.json")

    for _ in range(2):
        assert files.sha256(weights) == sha256_from_bytes(b"weights")

    assert len(read) == 2
