"""How a gallery is stored: half-precision fingerprints and binary ids in safetensors.

A gallery folder has one file per source, named by its content, with the tensors `fingerprints` and
`ids`, and one for each of the support's views (`jpeg:70/fingerprints`, `drawn/strengths`, ...); so
a change writes no more than the source that it changes. A gallery of one file, which is what is
exported and shipped, has `<source>/fingerprints` and so on of all of them, and its manifest under
the metadata key `lineup_gallery`.

Half precision halves the gallery and costs nothing that can be seen: one element is off by at most
2^-11 of its value, so the cosine of two stored fingerprints is off by less than 1e-3 (about 1e-5
at some thousand dimensions; a test measures it).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import numpy as np
import numpy.typing as npt
from msgspec import Meta
from safetensors.numpy import load as tensors_from_bytes
from safetensors.numpy import save as bytes_from_tensors

from lineup import files
from lineup.documents import DocumentFormat
from lineup.errors import GalleryError
from lineup.gallery.gallery import DIGEST_PATTERN, Gallery
from lineup.gallery.support import FINGERPRINTS, SourceRole, SupportSet, check_source_name
from lineup.tensor_files import TENSOR_ERRORS, TensorFileFormat
from lineup.text import shown
from lineup.types import AnyArray, Float32Array, HalfArray

IdRows = npt.NDArray[np.uint8]

ID_BYTES = 32
IDS = "ids"
NAMES = "names"

_FIXED_POINT_STEPS = 8
_STORED_NORM_TOLERANCE = 1e-2


@dataclass(frozen=True, slots=True)
class FingerprintRecord:
    """The fingerprint bundle that made every row of a gallery.

    Attributes:
        name: Name of the bundle, for people.
        digest: Identity of the bundle's content.
        dimension: Length of one fingerprint.
    """

    name: str
    digest: Annotated[str, Meta(pattern=rf"^{DIGEST_PATTERN}\Z")]
    dimension: Annotated[int, Meta(ge=1)]


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """One source of a gallery.

    Attributes:
        role: Generator or photographs.
        count: Number of fingerprints.
        sha256: Hex SHA-256 of the source's file; in a gallery of one file, of its two tensors.
        provenance: Where the images came from, for people.
        updated: Time of the last change, UTC, ISO 8601; None in a gallery of one file.
        file: File name inside `sources/`; None in a gallery of one file.
    """

    role: SourceRole
    count: Annotated[int, Meta(ge=1)]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    provenance: str = ""
    updated: str | None = None
    # No separator in it, so that a manifest cannot point outside of its folder.
    file: (
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}-[0-9a-f]{12}\.safetensors\Z")] | None
    ) = None


@dataclass(frozen=True, slots=True)
class GalleryManifest:
    """What a gallery holds.

    Attributes:
        fingerprint: The bundle that made every row.
        sources: Record per source name, sorted by name.
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


def _contradictions(manifest: GalleryManifest) -> Iterator[str]:
    texts = {"fingerprint.name": manifest.fingerprint.name}
    for name, record in manifest.sources.items():
        try:
            check_source_name(name, record.role)
        except GalleryError as error:
            yield f"sources: {error.message}"
        texts |= {
            f"sources.{name}.provenance": record.provenance,
            f"sources.{name}.updated": record.updated or "",
        }
    # They are printed to a terminal, and galleries of strangers are read too.
    for field, text in texts.items():
        if not text.isprintable():
            yield f"{field}: has control characters: {text!r:.80}"


GALLERY_MANIFEST = DocumentFormat(
    GalleryManifest,
    GalleryError,
    "Copy the gallery again, or enrol its images again.",
    altered_error=GalleryError,
    contradictions=_contradictions,
)
"""manifest.json of a gallery folder; the metadata of a gallery of one file."""

GALLERY_FILE = TensorFileFormat("a gallery", GALLERY_MANIFEST, "lineup_gallery")
"""A gallery of one file."""


def half_from_fingerprints(fingerprints: Float32Array) -> HalfArray:
    """Return fingerprints rounded to float16 such that reading and storing again changes nothing.

    Reading renormalises, which can push an element over a rounding boundary; rounding the
    renormalised rows until they stay put makes a gallery's identity survive any number of copies.

    Args:
        fingerprints: Shape (N, D), float32, rows of norm 1.

    Returns:
        Shape (N, D), little-endian float16.
    """
    half = fingerprints.astype("<f2")
    for _ in range(_FIXED_POINT_STEPS):
        again = fingerprints_from_half(half).astype("<f2")
        if np.array_equal(again, half):
            break
        half = again
    return half


def fingerprints_from_half(half: HalfArray) -> Float32Array:
    """Return stored rows as float32 with norm 1; shape (N, D) stays."""
    wide = half.astype(np.float64)  # sums in float64: the same bits on every processor
    norms = np.sqrt(np.square(wide).sum(axis=1, keepdims=True))
    fingerprints: Float32Array = (wide / norms).astype(np.float32)
    return fingerprints


def write_source(folder: Path, support: SupportSet) -> SourceRecord:
    """Write one support set under a name made from its content; return its manifest record.

    Raises:
        OSError: The file cannot be written.
    """
    data = bytes_from_tensors(tensors_from_support(support))
    sha256 = files.sha256_from_bytes(data)
    # Dots are replaced because Windows reserves names like "con.anything".
    file = f"{support.name.replace('.', '_')}-{sha256[:12]}.safetensors"
    files.write_atomic(folder / file, data)
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return SourceRecord(support.role, len(support), sha256, support.provenance, now, file)


def read_source(folder: Path, name: str, record: SourceRecord, dimension: int) -> SupportSet:
    """Read and verify the support set that a manifest record describes.

    Args:
        folder: Where the files lie.
        name: Name of the source.
        record: Its manifest record.
        dimension: Length of one fingerprint, from the manifest.

    Raises:
        FileNotFoundError: The file does not exist.
        GalleryError: The file cannot be read, or is not what the record says.
    """
    if record.file is None:
        raise GalleryError(f"{folder.parent}: sources.{name}.file: missing, but required")
    path = folder / record.file
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise GalleryError(f"cannot read {path}: {error.strerror}") from error
    if files.sha256_from_bytes(data) != record.sha256:
        raise GalleryError(
            f"{path} was altered or damaged: its SHA-256 is not the one in the manifest",
            hint=f"Restore the file, or remove the source (lineup gallery remove {name}) and "
            "enrol its images again.",
        )
    try:
        tensors = tensors_from_bytes(data)
    except TENSOR_ERRORS as error:
        raise GalleryError(f"{path} is not a valid safetensors file: {error}") from error
    return support_from_tensors(tensors, name, record, dimension=dimension, owner=str(path))


def write_gallery(path: Path, gallery: Gallery, *, sources: Iterable[str] | None = None) -> None:
    """Write a gallery, or some of its sources, to one file; an old file is replaced in one step.

    Raises:
        SourceNotFoundError: One of `sources` is not in the gallery.
        GalleryError: There is nothing to write, or the file cannot be written.
    """
    names = sorted(set(gallery.sources if sources is None else sources))
    supports = [gallery.source(name) for name in names]
    dimension = gallery.dimension
    if not supports or dimension is None:
        raise GalleryError("a gallery to write needs at least one source, there is none")
    tensors: dict[str, AnyArray] = {}
    records: dict[str, SourceRecord] = {}
    for support in supports:
        own = tensors_from_support(support)
        tensors.update({f"{support.name}/{key}": tensor for key, tensor in own.items()})
        sha256 = _sha256_from_tensors(own)
        records[support.name] = SourceRecord(support.role, len(support), sha256, support.provenance)
    fingerprint = FingerprintRecord(gallery.fingerprint_name, gallery.fingerprint_digest, dimension)
    GALLERY_FILE.write(path, GalleryManifest(fingerprint, records), tensors)


def gallery_from_file(path: Path) -> Gallery:
    """Read and check a gallery of one file; nothing in it is trusted.

    Raises:
        GalleryError: Not a gallery, written by a newer lineup, or damaged.
    """
    manifest, tensors = GALLERY_FILE.read(path)
    supports = {}
    for name, record in manifest.sources.items():
        head = f"{name}/"
        own = {key.removeprefix(head): tensors[key] for key in tensors if key.startswith(head)}
        support = support_from_tensors(
            own, name, record, dimension=manifest.fingerprint.dimension, owner=str(path)
        )
        if record.sha256 != _sha256_from_tensors(own):
            raise GalleryError(
                f"{path}: source {name!r} was altered or damaged: its SHA-256 is not the one in "
                "the header",
                hint="Export or copy the file again.",
            )
        supports[name] = support
    return Gallery(manifest.fingerprint.digest, supports, manifest.fingerprint.name)


def tensors_from_support(support: SupportSet) -> dict[str, AnyArray]:
    """Return the tensors to store: `ids` (N, 32) uint8, `fingerprints` and views in float16.

    Names of files, where there are some, are `names`, one line of UTF-8 each.
    """
    tensors: dict[str, AnyArray] = {
        FINGERPRINTS: half_from_fingerprints(support.fingerprints),
        IDS: id_rows_from_ids(support.ids),
        **support.views,
    }
    if support.names:
        tensors[NAMES] = np.frombuffer("\n".join(support.names).encode(), np.uint8)
    return tensors


def support_from_tensors(
    tensors: Mapping[str, AnyArray],
    name: str,
    record: SourceRecord,
    *,
    dimension: int,
    owner: str,
) -> SupportSet:
    """Return the support set of stored tensors.

    Args:
        tensors: What `tensors_from_support` returned.
        name: Name of the source.
        record: What the manifest says of it.
        dimension: Length of one fingerprint, from the manifest.
        owner: The file, for errors.

    Raises:
        GalleryError: A tensor is missing, malformed, or not what the manifest says.
    """
    missing = {FINGERPRINTS, IDS} - set(tensors)
    if missing:
        raise GalleryError(f"{owner}: source {name!r} lacks the tensor {sorted(missing)[0]!r}")
    half, id_rows = tensors[FINGERPRINTS], tensors[IDS]
    _check_stored(half, id_rows, f"{owner}: source {name!r}")
    if half.shape != (record.count, dimension):
        raise GalleryError(
            f"{owner}: source {name!r} has {half.shape[0]} fingerprints of dimension "
            f"{half.shape[1]}, the manifest says {record.count} of {dimension}"
        )
    views = {key: rows for key, rows in tensors.items() if key not in {FINGERPRINTS, IDS, NAMES}}
    names: tuple[str, ...] = ()
    if NAMES in tensors:
        lines = tensors[NAMES].tobytes().decode(errors="replace").split("\n")
        names = tuple(shown(line) for line in lines)
    fingerprints = fingerprints_from_half(half)
    fingerprints.setflags(write=False)
    ids = ids_from_id_rows(id_rows)
    return SupportSet(name, record.role, fingerprints, ids, record.provenance, views, names)


def id_rows_from_ids(ids: Sequence[str]) -> IdRows:
    """Return hex SHA-256 strings as an array of shape (N, 32), uint8."""
    joined = np.frombuffer(bytes.fromhex("".join(ids)), np.uint8)
    return joined.reshape(len(ids), ID_BYTES)


def ids_from_id_rows(rows: IdRows) -> tuple[str, ...]:
    """Return an array of shape (N, 32), uint8, as hex SHA-256 strings."""
    return tuple(row.tobytes().hex() for row in rows)


def _check_stored(half: AnyArray, id_rows: AnyArray, owner: str) -> None:
    if half.dtype != np.float16 or half.ndim != 2 or 0 in half.shape:
        raise GalleryError(
            f"{owner}: fingerprints must be float16 of the shape (images, dimension), "
            f"got {half.dtype} {half.shape}"
        )
    if id_rows.dtype != np.uint8 or id_rows.shape != (len(half), ID_BYTES):
        raise GalleryError(
            f"{owner}: ids must be uint8 of the shape ({len(half)}, {ID_BYTES}), "
            f"got {id_rows.dtype} {id_rows.shape}"
        )
    # Wider than for float32: rounding to float16 moves the norm by up to 2^-11.
    with np.errstate(all="ignore"):  # NaN and infinity are found below, not warned about
        norms = np.linalg.norm(half.astype(np.float32), axis=1)
    if not np.all(np.abs(norms - 1.0) <= _STORED_NORM_TOLERANCE):
        raise GalleryError(f"{owner}: fingerprints must be finite with norm 1")


def _sha256_from_tensors(tensors: Mapping[str, AnyArray]) -> str:
    digest = hashlib.sha256(tensors[FINGERPRINTS].astype("<f2").tobytes())
    digest.update(tensors[IDS].tobytes())
    for key in sorted(set(tensors) - {FINGERPRINTS, IDS}):
        digest.update(key.encode())
        digest.update(tensors[key].tobytes())
    return digest.hexdigest()
