from __future__ import annotations

import json

import pytest

from lineup.errors import GalleryError
from lineup.gallery.support import SourceRole
from lineup.gallery.tensors import (
    GALLERY_MANIFEST,
    FingerprintRecord,
    GalleryManifest,
    SourceRecord,
)

MANIFEST = GalleryManifest(
    FingerprintRecord("whitened", "a" * 64, 4608),
    {
        "sd": SourceRecord(
            SourceRole.CANDIDATE, 3, "c" * 64, "press kit", "2025", "sd-0123456789ab.safetensors"
        ),
        "real": SourceRecord(
            SourceRole.REAL, 9, "d" * 64, "", "2025", "real-0123456789ab.safetensors"
        ),
    },
)


def changed(path: list[str], value: object) -> bytes:
    raw = json.loads(GALLERY_MANIFEST.to_bytes(MANIFEST))
    place = raw
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return json.dumps(raw).encode()


def test_a_manifest_survives_the_round_trip():
    data = GALLERY_MANIFEST.to_bytes(MANIFEST)
    assert GALLERY_MANIFEST.from_bytes(data, where="FILE") == MANIFEST
    assert json.loads(data)["schema_version"] == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (changed(["fingerprint"], None), "fingerprint: missing, but required"),
        (changed(["fingerprint", "digest"], "../x"), "fingerprint.digest: expected str matching"),
        (changed(["fingerprint", "name"], "\x1b[2J"), "fingerprint.name: has control characters"),
        (changed(["fingerprint", "dimension"], "7"), "fingerprint.dimension: expected int"),
        (changed(["sources"], []), "sources: expected object, got an array"),
        (changed(["sources", "sd"], 7), "sources.sd: expected object, got 7"),
        (
            changed(["sources", "sd", "role"], "fake"),
            "sources.sd.role: expected one of candidate, real, got 'fake'",
        ),
        (changed(["sources", "sd", "count"], 1.5), "sources.sd.count: expected int, got 1.5"),
        (changed(["sources", "sd", "count"], None), "sources.sd.count: missing, but required"),
        (
            changed(["sources", "sd", "file"], "../../x-0123456789ab.safetensors"),
            "sources.sd.file: expected str matching",
        ),
        (changed(["sources", "sd", "file"], "/etc/passwd"), "sources.sd.file: expected str"),
        (changed(["sources", "sd", "sha256"], "c" * 63), "sources.sd.sha256: expected str"),
        (changed(["sources", "sd", "provenance"], "\x07"), "sources.sd.provenance: has control"),
        (
            changed(["sources", "real", "role"], "candidate"),
            "sources: 'real' cannot name a candidate source",
        ),
        (
            changed(["sources", "../x"], {"role": "candidate", "count": 1, "sha256": "c" * 64}),
            "sources: '../x' cannot name a source",
        ),
    ],
)
def test_a_malformed_manifest_is_refused_by_field(data, message):
    with pytest.raises(GalleryError) as caught:
        GALLERY_MANIFEST.from_bytes(data, where="FILE")
    assert caught.value.message.startswith(f"FILE: {message}")


def test_a_newer_manifest_is_refused_before_its_fields_are_read():
    with pytest.raises(
        GalleryError, match=r"schema_version is 2, but this lineup reads up to 1\.\n.*upgrad"
    ):
        GALLERY_MANIFEST.from_bytes(b'{"schema_version": 2, "sources": "other"}', where="FILE")


def test_sources_are_replaced_and_dropped_in_copies():
    other = MANIFEST.sources["real"]
    assert MANIFEST.with_sources({"flickr": other}).sources["flickr"] == other
    assert list(MANIFEST.without_source("sd").sources) == ["real"]
    assert list(MANIFEST.sources) == ["real", "sd"]
