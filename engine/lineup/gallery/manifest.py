"""The manifest of a gallery folder: which fingerprint made it, and one record per source."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, TypeVar

from lineup.errors import GalleryError
from lineup.gallery.gallery import SourceRole, check_fingerprint_digest, check_source_name

SCHEMA_VERSION = 1

# A file name only: no separator, so a manifest cannot point outside of its folder.
_FILE_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,64}-[0-9a-f]{12}\.safetensors")
_SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class FingerprintRecord:
    """The fingerprint bundle that made every row of a gallery.

    Attributes:
        name: Name of the bundle, for people.
        digest: Identity of the bundle's content.
        dimension: Length of one fingerprint.
    """

    name: str
    digest: str
    dimension: int


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """One source of a gallery folder.

    Attributes:
        role: Generator or photographs.
        file: File name inside `sources/`.
        sha256: Hex SHA-256 of that file.
        count: Number of fingerprints.
        provenance: Where the images came from, for people.
        updated: Time of the last change, UTC, ISO 8601.
    """

    role: SourceRole
    file: str
    sha256: str
    count: int
    provenance: str
    updated: str


@dataclass(frozen=True, slots=True)
class GalleryManifest:
    """The content of `manifest.json`.

    Attributes:
        fingerprint: The bundle that made every row.
        sources: Record per source name.
    """

    fingerprint: FingerprintRecord
    sources: Mapping[str, SourceRecord]

    def __post_init__(self) -> None:
        ordered = {name: self.sources[name] for name in sorted(self.sources)}
        object.__setattr__(self, "sources", MappingProxyType(ordered))

    def with_sources(self, changed: Mapping[str, SourceRecord]) -> GalleryManifest:
        """Return a copy in which the `changed` records replace or join the present ones."""
        return replace(self, sources={**self.sources, **changed})

    def without_source(self, name: str) -> GalleryManifest:
        """Return a copy without one source."""
        return replace(self, sources={key: r for key, r in self.sources.items() if key != name})


def manifest_to_bytes(manifest: GalleryManifest) -> bytes:
    """Return the manifest as indented JSON."""
    raw = {
        "schema_version": SCHEMA_VERSION,
        "fingerprint": fingerprint_to_dict(manifest.fingerprint),
        "sources": {
            name: {
                "role": record.role.value,
                "file": record.file,
                "sha256": record.sha256,
                "count": record.count,
                "provenance": record.provenance,
                "updated": record.updated,
            }
            for name, record in manifest.sources.items()
        },
    }
    return (json.dumps(raw, indent=2, ensure_ascii=False) + "\n").encode()


def manifest_from_bytes(data: bytes, owner: str) -> GalleryManifest:
    """Read and check a manifest; `owner` names the file in errors.

    Raises:
        GalleryError: Not JSON, written by a newer lineup, or a field is missing or wrong.
    """
    raw = header_from_json(data, owner)
    sources = {
        name: _record_from_dict(name, record, owner)
        for name, record in field(raw, "sources", dict, owner).items()
    }
    return GalleryManifest(fingerprint_from_dict(raw, owner), sources)


def header_from_json(data: str | bytes, owner: str) -> dict[str, Any]:
    """Parse JSON that starts with a `schema_version` this lineup can read.

    Raises:
        GalleryError: Not a JSON object, or written by a newer lineup.
    """
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise GalleryError(f"{owner} is not valid JSON: {error}") from error
    if not isinstance(raw, dict):
        raise GalleryError(f"{owner} must hold a JSON object, got {type(raw).__name__}")
    version = field(raw, "schema_version", int, owner)
    if version > SCHEMA_VERSION:
        raise GalleryError(
            f"{owner} has schema version {version}, this lineup reads up to {SCHEMA_VERSION}",
            hint="It was written by a newer lineup: upgrade with pip install --upgrade lineup.",
        )
    return raw


def fingerprint_to_dict(fingerprint: FingerprintRecord) -> dict[str, Any]:
    """Return the record as JSON-ready values."""
    return {
        "name": fingerprint.name,
        "digest": fingerprint.digest,
        "dimension": fingerprint.dimension,
    }


def fingerprint_from_dict(raw: Mapping[str, Any], owner: str) -> FingerprintRecord:
    """Read the field `fingerprint` of a manifest or an archive header.

    Raises:
        GalleryError: A field is missing or wrong.
    """
    record = field(raw, "fingerprint", dict, owner)
    where = f"{owner}: fingerprint"
    digest = field(record, "digest", str, where)
    check_fingerprint_digest(digest)
    name = field(record, "name", str, where)
    if not name.isprintable():
        raise GalleryError(f"{where}: the name has control characters: {name!r}")
    return FingerprintRecord(name, digest, field(record, "dimension", int, where))


def role_from_dict(name: str, raw: Any, owner: str) -> SourceRole:
    """Read the role of the source `name` and check that the name suits it.

    Raises:
        GalleryError: The name or the role is not allowed.
    """
    text = field(raw, "role", str, f"{owner}: source {name!r}")
    try:
        role = SourceRole(text)
    except ValueError:
        expected = " or ".join(role.value for role in SourceRole)
        raise GalleryError(
            f"{owner}: source {name!r}: role must be {expected}, got {text!r}"
        ) from None
    check_source_name(name, role)
    return role


def field(raw: Any, key: str, kind: type[Value], owner: str) -> Value:
    """Return `raw[key]`, checked to be of `kind`; `owner` names the place in errors.

    Raises:
        GalleryError: `raw` is not an object, or the field is missing or of another type.
    """
    if not isinstance(raw, dict) or key not in raw:
        raise GalleryError(f"{owner}: the field {key!r} is missing")
    value = raw[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise GalleryError(f"{owner}: {key!r} must be of type {kind.__name__}, got {value!r:.80}")
    return value


def _record_from_dict(name: str, raw: Any, owner: str) -> SourceRecord:
    where = f"{owner}: source {name!r}"
    record = SourceRecord(
        role=role_from_dict(name, raw, owner),
        file=field(raw, "file", str, where),
        sha256=field(raw, "sha256", str, where),
        count=field(raw, "count", int, where),
        provenance=field(raw, "provenance", str, where),
        updated=field(raw, "updated", str, where),
    )
    if not _FILE_PATTERN.fullmatch(record.file):
        raise GalleryError(
            f"{where}: 'file' must name a .safetensors file inside sources/, got {record.file!r}"
        )
    if not _SHA256_PATTERN.fullmatch(record.sha256):
        raise GalleryError(f"{where}: 'sha256' must be 64 hex digits, got {record.sha256!r}")
    for key, text in (("provenance", record.provenance), ("updated", record.updated)):
        if not text.isprintable():
            raise GalleryError(f"{where}: {key!r} has control characters: {text!r}")
    return record
