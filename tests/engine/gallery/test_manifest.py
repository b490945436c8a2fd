from __future__ import annotations

import json

import pytest

from lineup.errors import GalleryError
from lineup.gallery.gallery import SourceRole
from lineup.gallery.manifest import (
    FingerprintRecord,
    GalleryManifest,
    SourceRecord,
    manifest_from_bytes,
    manifest_to_bytes,
)

MANIFEST = GalleryManifest(
    FingerprintRecord("whitened", "a" * 64, 4608),
    {
        "sd": SourceRecord(
            SourceRole.CANDIDATE, "sd-0123456789ab.safetensors", "c" * 64, 3, "press kit", "2025"
        ),
        "real": SourceRecord(
            SourceRole.REAL, "real-0123456789ab.safetensors", "d" * 64, 9, "", "2025"
        ),
    },
)


def changed(path: list[str], value: object) -> bytes:
    raw = json.loads(manifest_to_bytes(MANIFEST))
    place = raw
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return json.dumps(raw).encode()


def test_a_manifest_survives_the_round_trip():
    assert manifest_from_bytes(manifest_to_bytes(MANIFEST), "FILE") == MANIFEST
    assert json.loads(manifest_to_bytes(MANIFEST))["schema_version"] == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[]", "must hold a JSON object, got list"),
        (b"{}", "'schema_version' is missing"),
        (changed(["schema_version"], True), "'schema_version' must be of type int"),
        (changed(["fingerprint"], None), "'fingerprint' is missing"),
        (changed(["fingerprint", "digest"], "../x"), "not the digest of a fingerprint"),
        (changed(["fingerprint", "name"], "\x1b[2J"), "control characters"),
        (changed(["fingerprint", "dimension"], "7"), "'dimension' must be of type int"),
        (changed(["sources"], []), "'sources' must be of type dict"),
        (changed(["sources", "sd"], 7), "source 'sd': the field 'role' is missing"),
        (changed(["sources", "sd", "role"], "fake"), "must be candidate or real, got 'fake'"),
        (changed(["sources", "sd", "count"], 1.5), "'count' must be of type int"),
        (changed(["sources", "sd", "file"], "../../x-0123456789ab.safetensors"), "inside sources/"),
        (changed(["sources", "sd", "file"], "/etc/passwd"), "inside sources/"),
        (changed(["sources", "sd", "sha256"], "c" * 63), "64 hex digits"),
        (changed(["sources", "sd", "provenance"], "\x07"), "control characters"),
        (changed(["sources", "real", "role"], "candidate"), "'real' cannot name a candidate"),
        (changed(["sources", "../x"], {"role": "candidate"}), "cannot name a source"),
    ],
)
def test_a_malformed_manifest_is_refused_by_field(data, message):
    with pytest.raises(GalleryError, match=message):
        manifest_from_bytes(data, "FILE")


def test_a_newer_manifest_is_refused_before_its_fields_are_read():
    with pytest.raises(
        GalleryError, match=r"schema version 2, this lineup reads up to 1\n.*upgrad"
    ):
        manifest_from_bytes(b'{"schema_version": 2, "sources": "other"}', "FILE")


def test_sources_are_replaced_and_dropped_in_copies():
    other = MANIFEST.sources["real"]
    assert MANIFEST.with_sources({"flickr": other}).sources["flickr"] == other
    assert list(MANIFEST.without_source("sd").sources) == ["real"]
    assert list(MANIFEST.sources) == ["real", "sd"]
