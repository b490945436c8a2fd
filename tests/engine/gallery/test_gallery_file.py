from __future__ import annotations

import contextlib
import dataclasses
import json
import random
import struct

import numpy as np
import pytest
from safetensors.numpy import save

from lineup import files
from lineup.errors import GalleryError, SourceNotFoundError
from lineup.gallery.support import SourceRole
from lineup.gallery.tensors import GALLERY_FILE, gallery_from_file, write_gallery

HEADER_KEY = GALLERY_FILE.header_key


@pytest.fixture
def archive(tmp_path, make_gallery, make_support):
    gallery = make_gallery(
        make_support(provenance="press kit"),
        make_support("real", 3, role=SourceRole.REAL),
        make_support("sd.1", 2),
    )
    path = tmp_path / "gallery.safetensors"
    write_gallery(path, gallery)
    return path


@pytest.fixture
def rewrite(archive):
    """Return a function that writes the archive again with a changed header or tensors."""
    from safetensors import safe_open

    def write(change_header=None, tensors=None, metadata=None):
        with safe_open(archive, framework="numpy") as opened:
            header = json.loads(opened.metadata()[HEADER_KEY])
            content = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
        if change_header:
            change_header(header)
        content = {k: v for k, v in {**content, **(tensors or {})}.items() if v is not None}
        text = {HEADER_KEY: json.dumps(header)} if metadata is None else metadata
        archive.write_bytes(save(content, metadata=text))
        return archive

    return write


def test_an_archive_holds_the_whole_gallery(archive):
    gallery = gallery_from_file(archive)
    assert list(gallery.sources) == ["dalle3", "real", "sd.1"]
    assert gallery.source("real").role is SourceRole.REAL
    assert gallery.source("dalle3").provenance == "press kit"
    assert gallery.fingerprint_digest == "a" * 64
    assert gallery.fingerprint_name == "tiny"


def test_copies_of_copies_keep_their_identity(archive, tmp_path):
    first = gallery_from_file(archive)
    write_gallery(tmp_path / "copy", first)
    assert gallery_from_file(tmp_path / "copy").digest == first.digest
    assert (tmp_path / "copy").read_bytes() == archive.read_bytes()


def test_some_sources_can_be_written_alone(tmp_path, make_gallery, make_support):
    gallery = make_gallery(make_support(), make_support("sd"))
    path = tmp_path / "sd.safetensors"
    write_gallery(path, gallery, sources=["sd", "sd"])
    assert list(gallery_from_file(path).sources) == ["sd"]
    with pytest.raises(SourceNotFoundError, match="'sdxl'"):
        write_gallery(path, gallery, sources=["sdxl"])
    with pytest.raises(GalleryError, match="at least one source"):
        write_gallery(path, make_gallery())


def test_an_archive_is_written_whole_or_not_at_all(
    archive, make_gallery, make_support, monkeypatch, tmp_path
):
    before = archive.read_bytes()

    def full_disk(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full_disk)
    with pytest.raises(GalleryError, match="No space left"):
        write_gallery(archive, make_gallery(make_support("sd")))
    assert archive.read_bytes() == before
    assert list(tmp_path.iterdir()) == [archive]


def set_field(path, value):
    def change(header):
        place = header
        for key in path[:-1]:
            place = place[key]
        if value is None:
            del place[path[-1]]
        else:
            place[path[-1]] = value

    return change


def rename_source(old, new):
    def change(header):
        header["sources"][new] = header["sources"].pop(old)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_field(["schema_version"], 2), "this lineup reads up to 1"),
        (set_field(["schema_version"], None), "schema_version: missing"),
        (set_field(["fingerprint"], None), "fingerprint: missing"),
        (set_field(["fingerprint", "digest"], ""), "fingerprint.digest: expected str matching"),
        (
            set_field(["fingerprint", "dimension"], 7),
            "of dimension 48, the manifest says [35] of 7",
        ),
        (set_field(["sources"], None), "sources: missing"),
        (set_field(["sources", "real", "more"], 1), r"sources\.real\.more: unknown field"),
        (set_field(["sources", "real", "role"], "candidate"), "'real' cannot name a candidate"),
        (
            set_field(["sources", "real", "role"], 7),
            r"sources\.real\.role: expected one of candidate, real, got 7",
        ),
        (
            set_field(["sources", "real", "count"], 4),
            "3 fingerprints of dimension 48, the manifest says 4 of 48",
        ),
        (set_field(["sources", "real", "sha256"], "0" * 64), "altered or damaged"),
        (set_field(["sources", "real", "provenance"], "\x1b]0;x"), "control characters"),
        (
            set_field(["sources", "sd"], {"role": "candidate"}),
            r"sources\.sd\.count: missing",
        ),
        (rename_source("sd.1", "../x"), "cannot name a source"),
        (rename_source("sd.1", "/etc/passwd"), "cannot name a source"),
        (rename_source("sd.1", "unknown"), "cannot name a source"),
        (rename_source("sd.1", ""), "cannot name a source"),
    ],
)
def test_a_hostile_header_is_refused(rewrite, change, message):
    with pytest.raises(GalleryError, match=message):
        gallery_from_file(rewrite(change))


@pytest.mark.parametrize(
    ("key", "tensor", "message"),
    [
        ("real/fingerprints", None, "lacks the tensor 'fingerprints'"),
        ("real/ids", None, "lacks the tensor 'ids'"),
        ("real/fingerprints", np.zeros((3, 48), np.float32), "must be float16"),
        ("real/fingerprints", np.zeros((3, 48), np.float16), "norm 1"),
        ("real/fingerprints", np.full((3, 48), np.nan, np.float16), "norm 1"),
        ("real/fingerprints", np.zeros((0, 48), np.float16), "must be float16 of the shape"),
        ("real/fingerprints", np.zeros((3, 4, 12), np.float16), "must be float16 of the shape"),
        (
            "real/fingerprints",
            np.full((3, 16), 0.25, np.float16),
            "3 fingerprints of dimension 16, the manifest says 3 of 48",
        ),
        ("real/ids", np.zeros((3, 32), np.uint8), "only 1 different"),
        ("real/ids", np.zeros((3, 31), np.uint8), "ids must be uint8"),
        ("real/ids", np.zeros((2, 32), np.uint8), "ids must be uint8"),
    ],
)
def test_hostile_tensors_are_refused(rewrite, key, tensor, message):
    with pytest.raises(GalleryError, match=message):
        gallery_from_file(rewrite(tensors={key: tensor}))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "lacks 'lineup_gallery'"),
        ({"format": "pt"}, "lacks 'lineup_gallery'"),
        ({HEADER_KEY: "not json"}, "not JSON"),
        ({HEADER_KEY: "[1]"}, "expected an object, got an array"),
        ({HEADER_KEY: "[" * 100_000}, "not JSON"),
    ],
)
def test_hostile_metadata_is_refused(rewrite, metadata, message):
    with pytest.raises(GalleryError, match=message):
        gallery_from_file(rewrite(metadata=metadata))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        b"\xff\xd8\xff\xe0 a photograph",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 10**12) + b"{}",
        struct.pack("<Q", 60)
        + b'{"x":{"dtype":"F16","shape":[9999999],"data_offsets":[0,2]}} '
        + b"00",
        struct.pack("<Q", 57)
        + b'{"x":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}  '
        + b"00",
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(GalleryError, match=r"x\.safetensors is not"):
        gallery_from_file(path)


def test_a_truncated_archive_is_refused(archive):
    data = archive.read_bytes()
    for size in (4, 100, len(data) - 1):
        archive.write_bytes(data[:size])
        with pytest.raises(GalleryError, match="not a valid safetensors file"):
            gallery_from_file(archive)


@pytest.mark.parametrize("kind", ["BF16", "F8_E4M3", "I16", "C64", "X"])
def test_a_number_format_that_numpy_lacks_is_refused(archive, kind):
    data = archive.read_bytes()
    renamed = data.replace(b'"F16"', f'"{kind}"'.encode())
    (length,) = struct.unpack("<Q", data[:8])
    archive.write_bytes(struct.pack("<Q", length + len(renamed) - len(data)) + renamed[8:])
    with pytest.raises(GalleryError, match=r"not a valid safetensors file|must be float16"):
        gallery_from_file(archive)


def test_random_damage_is_an_error_or_harmless(archive):
    data = archive.read_bytes()
    generator = random.Random(0)
    for _ in range(300):
        damaged = bytearray(data)
        damaged[generator.randrange(len(data))] = generator.randrange(256)
        archive.write_bytes(damaged)
        with contextlib.suppress(GalleryError):
            gallery_from_file(archive)


def test_an_absent_file_is_told(tmp_path):
    with pytest.raises(GalleryError, match="is not a file"):
        gallery_from_file(tmp_path / "absent.safetensors")


def test_names_of_files_come_back_and_take_no_effect(make_support, make_gallery, tmp_path):
    support = dataclasses.replace(make_support(count=2), names=("a.png", "\x1b[31m"))
    write_gallery(tmp_path / "g.safetensors", make_gallery(support))
    names = gallery_from_file(tmp_path / "g.safetensors").source("dalle3").names
    assert names[0] == "a.png"
    assert "\x1b" not in names[1]
