import json
import os
import shutil

import pytest

from lineup.bundles import bundle
from lineup.bundles.bundle import VerifiedFiles
from lineup.bundles.store import BundleStore
from lineup.errors import BundleIntegrityError
from lineup.files import sha256_from_bytes


@pytest.fixture(autouse=True)
def read(monkeypatch):
    """Every file counts as large and settled; what is read is noted."""
    seen = []
    hashed = bundle.sha256_from_file
    monkeypatch.setattr(bundle, "LARGE_BYTES", 4)
    monkeypatch.setattr(bundle, "SETTLED_NS", -1)
    monkeypatch.setattr(bundle, "sha256_from_file", lambda path: seen.append(path) or hashed(path))
    return seen


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def record(tmp_path):
    return tmp_path / "home" / "verified.json"


def sha256(record, path):
    with VerifiedFiles(record) as files:
        return files.sha256(path)


def test_a_large_file_is_read_once(record, weights, read):
    for _ in range(2):
        assert sha256(record, weights) == sha256_from_bytes(b"weights")

    assert read == [weights]


def test_a_small_file_is_read_every_time(record, tmp_path, read):
    path = tmp_path / "small"
    path.write_bytes(b"abc")

    for _ in range(2):
        sha256(record, path)

    assert len(read) == 2


def test_a_changed_file_is_read_again_even_if_its_time_is_put_back(record, weights):
    sha256(record, weights)
    before = weights.stat()
    weights.write_bytes(b"altered")  # as long as before
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert sha256(record, weights) == sha256_from_bytes(b"altered")


def test_a_replaced_file_is_read_again(record, weights, tmp_path):
    sha256(record, weights)
    other = tmp_path / "other"
    other.write_bytes(b"another")
    other.replace(weights)

    assert sha256(record, weights) == sha256_from_bytes(b"another")


def test_what_changed_a_moment_ago_is_not_trusted(record, weights, read, monkeypatch):
    monkeypatch.setattr(bundle, "SETTLED_NS", 60 * 10**9)

    for _ in range(2):
        sha256(record, weights)

    assert len(read) == 2


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a": 1}', b'{"a": [1]}', b"\xff"])
def test_a_damaged_record_costs_time_only(record, weights, read, content):
    record.parent.mkdir()
    record.write_bytes(content)

    for _ in range(2):
        assert sha256(record, weights) == sha256_from_bytes(b"weights")

    assert read == [weights]


def test_files_that_are_gone_leave_the_record(record, weights, tmp_path):
    other = tmp_path / "other"
    other.write_bytes(b"another")
    sha256(record, other)
    other.unlink()

    sha256(record, weights)

    assert list(json.loads(record.read_bytes())) == [str(weights)]


def test_a_home_that_cannot_be_written_to_costs_time_only(weights, tmp_path, read):
    (tmp_path / "file").touch()

    for _ in range(2):
        assert sha256(tmp_path / "file" / "verified.json", weights)

    assert len(read) == 2


def test_a_store_opens_a_bundle_again_without_reading_its_weights(
    tmp_path, read, monkeypatch, record
):
    path = BundleStore(tmp_path / "home").path("pocket-clip")
    monkeypatch.setattr(bundle, "LARGE_BYTES", 0)
    for _ in range(2):
        BundleStore(tmp_path / "home").open("pocket-clip")

    assert len(read) == len({one.resolve() for one in path.rglob("*") if one.is_file()}) - 1


def test_altered_weights_are_refused_after_they_were_trusted(tmp_path, record):
    home = tmp_path / "home"
    source = BundleStore(home).path("pocket-clip")
    copy = tmp_path / "copy"
    shutil.copytree(source, copy)
    BundleStore(home).open(copy)
    weights = max((copy / "weights").iterdir(), key=lambda one: one.stat().st_size)
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.chmod(0o644)
    weights.write_bytes(content)

    with pytest.raises(BundleIntegrityError, match="altered"):
        BundleStore(home).open(copy)
