"""What a cluster is given to do, without one; tests/benchmarks/test_ray_scan.py runs one."""

import hashlib
import os
from pathlib import Path

import pytest

from lineup.errors import LineupError, UsageError
from lineup.finding import NamedImages
from lineup.ray.kit import Kit, KitFile
from lineup.ray.scan import Files, _given_up, cluster
from lineup.scan.pipeline import Identities, is_same_content

pytest.importorskip("pyarrow", reason="needs the extra ray")


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "sub/b.jpg", ".hidden/c.png", "notes.txt"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "in"


def listed(*arguments, done=None):
    files = Files(NamedImages(arguments, None, None))
    blocks = list(files.blocks(done or Identities()))
    return files, [row for block in blocks for row in block.to_pylist()]


def test_local_images_are_those_of_a_scan_each_once(folder):
    files, rows = listed(str(folder), f"{folder}/a.png")

    assert [os.fsdecode(row["path"]) for row in rows] == [f"{folder}/a.png", f"{folder}/sub/b.jpg"]
    assert files.count == 2
    assert files.stores == []
    assert {row["store"] for row in rows} == {None}


def test_a_uri_names_a_folder_or_an_image_of_a_store(folder):
    files, rows = listed(f"file://{folder}/", f"file://{folder}/gone.png", f"{folder}/a.png")

    assert [(os.fsdecode(row["path"]), row["store"]) for row in rows] == [
        (f"{folder}/a.png", None),
        (f"file://{folder}/a.png", 0),
        (f"file://{folder}/sub/b.jpg", 0),
        (f"file://{folder}/gone.png", 1),
    ]
    with files.stores[0].open_input_file(rows[1]["location"]) as stream:
        assert stream.read() == b"a.png"


@pytest.mark.parametrize("uri", ["no-such-scheme://bucket/x", "s3://"])
def test_a_uri_that_cannot_be_used_is_told(uri):
    with pytest.raises(UsageError, match="cannot be listed"):
        listed(uri)


def test_what_is_done_goes_with_its_file(folder):
    done = Identities()
    done.add(f"{folder}/a.png", "a" * 64)

    _, (first, second) = listed(str(folder), done=done)

    assert is_same_content(first["done"], "a" * 64)
    assert not is_same_content(first["done"], "b" * 64)
    assert second["done"] is None


def test_a_kit_is_unpacked_once_and_checked(tmp_path, monkeypatch):
    ray = pytest.importorskip("ray", reason="needs the extra ray")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    taken = []
    monkeypatch.setattr(ray, "get", lambda content: taken.append(content) or content)
    content = b"weights"
    kit = Kit(
        (KitFile("bundles/x/w", hashlib.sha256(content).hexdigest(), content),),
        Path("named/lineup"),
        {"gallery": Path("named/gallery"), "device": "cpu"},
    )

    home = kit.unpacked()
    assert (home / "bundles/x/w").read_bytes() == content
    assert kit.unpacked() == home
    assert len(taken) == 1
    assert kit.opened_with(home) == (
        home / "named/lineup",
        {"gallery": home / "named/gallery", "device": "cpu"},
    )

    (home / "bundles/x/w").write_bytes(b"altered")
    assert (kit.unpacked() / "bundles/x/w").read_bytes() == content
    assert len(taken) == 2

    wrong = Kit((KitFile("w", "0" * 64, content),), None, {})
    with pytest.raises(LineupError, match="arrived altered"):
        wrong.unpacked()


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "Traceback:\n  File x\nlineup.errors.LineupError: Another version.\nInstall it.",
            "Another version.",
            "Install it.",
        ),
        ("Traceback:\nlineup.errors.BundleError: Gone.", "Gone.", "Rows so far"),
        ("The actor died\nof no memory", "of no memory", "Rows so far"),
        ("", "RuntimeError", "Rows so far"),
    ],
)
def test_an_error_of_the_cluster_is_its_cause(text, message, hint):
    told = _given_up(RuntimeError(text))

    assert told.message == f"The cluster gave up: {message}"
    assert told.hint.startswith(hint)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "photos", "nowhere:port", "127.0.0.1:99999"])
def test_an_address_without_a_cluster_is_told_at_once(address, monkeypatch):
    pytest.importorskip("ray", reason="needs the extra ray")
    for variable in ("RAY_USAGE_STATS_ENABLED", "RAY_BACKEND_LOG_LEVEL"):
        monkeypatch.setenv(variable, "")  # put back afterwards

    with pytest.raises(UsageError, match="no Ray cluster") as caught, cluster(address):
        pass
    assert "behind the paths" in caught.value.hint
