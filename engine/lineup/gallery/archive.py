"""A gallery as one file: a .safetensors file whose metadata describes its sources.

Per source there are two tensors, `<name>/fingerprints` and `<name>/ids`. The metadata key
`lineup_gallery` holds a JSON header with the schema version, the fingerprint bundle and, per
source, role, count, provenance and a SHA-256 over the bytes of both tensors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.numpy import save as bytes_from_tensors

from lineup import files
from lineup.errors import GalleryError
from lineup.gallery.codec import FINGERPRINTS, IDS, support_from_tensors, tensors_from_support
from lineup.gallery.gallery import Gallery, SupportSet
from lineup.gallery.manifest import (
    SCHEMA_VERSION,
    FingerprintRecord,
    field,
    fingerprint_from_dict,
    fingerprint_to_dict,
    header_from_json,
    role_from_dict,
)
from lineup.gallery.source_files import TENSOR_ERRORS
from lineup.types import AnyArray

HEADER_KEY = "lineup_gallery"


def write_archive(path: Path, gallery: Gallery, *, sources: Iterable[str] | None = None) -> None:
    """Write a gallery, or some of its sources, to one file; an old file is replaced in one step.

    Raises:
        SourceNotFoundError: One of `sources` is not in the gallery.
        GalleryError: There is nothing to write, or the file cannot be written.
    """
    names = sorted(set(gallery.sources if sources is None else sources))
    supports = [gallery.source(name) for name in names]
    dimension = gallery.dimension
    if not supports or dimension is None:
        raise GalleryError("an archive needs at least one source, there is none to write")
    tensors: dict[str, AnyArray] = {}
    records: dict[str, Any] = {}
    for support in supports:
        own = tensors_from_support(support)
        tensors.update({f"{support.name}/{key}": tensor for key, tensor in own.items()})
        records[support.name] = _record_to_dict(support, own)
    fingerprint = FingerprintRecord(gallery.fingerprint_name, gallery.fingerprint_digest, dimension)
    header = {
        "schema_version": SCHEMA_VERSION,
        "fingerprint": fingerprint_to_dict(fingerprint),
        "sources": records,
    }
    metadata = {HEADER_KEY: json.dumps(header, ensure_ascii=False)}
    try:
        files.write_atomic(path, bytes_from_tensors(tensors, metadata=metadata))
    except OSError as error:
        raise GalleryError(f"cannot write {path}: {error.strerror}") from error


def gallery_from_archive(path: Path) -> Gallery:
    """Read and check an archive; nothing in it is trusted.

    Raises:
        GalleryError: Not an archive of a gallery, written by a newer lineup, or damaged.
    """
    if not path.is_file():
        raise GalleryError(f"{path} is not a file", hint="Give a file of lineup gallery export.")
    try:
        with safe_open(path, framework="numpy") as archive:
            header = _header_from_metadata(archive.metadata(), str(path))
            tensors: dict[str, AnyArray] = {key: archive.get_tensor(key) for key in archive.keys()}  # noqa: SIM118  # not a dict
    except TENSOR_ERRORS as error:
        raise GalleryError(f"{path} is not a valid safetensors file: {error}") from error
    fingerprint = fingerprint_from_dict(header, str(path))
    supports = {
        name: _support_from_header(name, record, tensors, str(path))
        for name, record in field(header, "sources", dict, str(path)).items()
    }
    gallery = Gallery(fingerprint.digest, supports, fingerprint.name)
    if gallery.dimension != fingerprint.dimension:
        raise GalleryError(
            f"{path}: the header says dimension {fingerprint.dimension}, the fingerprints have "
            f"{gallery.dimension}"
        )
    return gallery


def _header_from_metadata(metadata: Mapping[str, str] | None, owner: str) -> dict[str, Any]:
    if not metadata or HEADER_KEY not in metadata:
        raise GalleryError(
            f"{owner} is not an archive of a gallery: its metadata lacks {HEADER_KEY!r}",
            hint="Give a file of lineup gallery export.",
        )
    return header_from_json(metadata[HEADER_KEY], f"{owner}: {HEADER_KEY}")


def _record_to_dict(support: SupportSet, tensors: Mapping[str, AnyArray]) -> dict[str, Any]:
    return {
        "role": support.role.value,
        "count": len(support),
        "provenance": support.provenance,
        "sha256": _sha256_from_tensors(tensors),
    }


def _support_from_header(
    name: str, record: Any, tensors: Mapping[str, AnyArray], owner: str
) -> SupportSet:
    where = f"{owner}: source {name!r}"
    own = {
        key: tensors[f"{name}/{key}"] for key in (FINGERPRINTS, IDS) if f"{name}/{key}" in tensors
    }
    support = support_from_tensors(
        own,
        name=name,
        role=role_from_dict(name, record, owner),
        provenance=field(record, "provenance", str, where),
        owner=owner,
    )
    count = field(record, "count", int, where)
    if count != len(support):
        raise GalleryError(f"{where}: the header says {count} images, there are {len(support)}")
    if field(record, "sha256", str, where) != _sha256_from_tensors(own):
        raise GalleryError(
            f"{where} was altered or damaged: its SHA-256 is not the one in the header",
            hint="Export or copy the archive again.",
        )
    return support


def _sha256_from_tensors(tensors: Mapping[str, AnyArray]) -> str:
    digest = hashlib.sha256(tensors[FINGERPRINTS].astype("<f2").tobytes())
    digest.update(tensors[IDS].tobytes())
    return digest.hexdigest()
