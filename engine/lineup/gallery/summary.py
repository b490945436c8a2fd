"""What a gallery holds, for people to look at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np

from lineup.errors import GalleryError
from lineup.gallery.gallery import SourceRole, SupportSet
from lineup.gallery.opening import open_gallery, shipped_store, user_store
from lineup.gallery.store import GalleryStore


class Origin(str, Enum):
    """Where a source is stored."""

    SHIPPED = "shipped"
    """In the package, read-only."""

    USER = "user"
    """In the user's own gallery, or in the folder that was named."""


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """One source of one gallery folder, from its manifest alone.

    Attributes:
        name: Name of the source.
        role: Generator or photographs.
        count: Number of images.
        origin: Where it is stored.
        provenance: Where the images came from.
        updated: Time of the last change, UTC, ISO 8601.
        fingerprint: Digest of the bundle that made the fingerprints.
    """

    name: str
    role: SourceRole
    count: int
    origin: Origin
    provenance: str
    updated: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class SourceDetails:
    """One source as a scan sees it, over all folders that hold images of it.

    Attributes:
        name: Name of the source.
        role: Generator or photographs.
        count: Number of different images.
        coherence: Mean cosine over all pairs of its fingerprints, -1..1; None for one image.
            The higher, the more alike its images' fingerprints.
        provenance: Where the images came from.
        origins: Where it is stored.
        fingerprint: Digest of the bundle that made the fingerprints.
    """

    name: str
    role: SourceRole
    count: int
    coherence: float | None
    provenance: str
    origins: tuple[Origin, ...]
    fingerprint: str


def source_entries(path: Path | None = None) -> list[SourceEntry]:
    """List the sources of a gallery folder; None lists the shipped and the user's own.

    Raises:
        GalleryError: `path` holds no gallery, or a manifest cannot be read.
    """
    if path is not None and user_store(path).manifest() is None:
        raise GalleryError(
            f"{path} is not a gallery", hint="Make one with lineup enroll NAME PATHS..."
        )
    return [entry for origin, store in _stores(path) for entry in _entries(origin, store)]


def source_details(name: str, path: Path | None = None) -> SourceDetails:
    """Describe one source of a gallery folder; None looks into the shipped and the user's own.

    Raises:
        SourceNotFoundError: There is no such source.
        GalleryError: A file is missing, altered or malformed, or the two galleries were made
            with different fingerprints.
    """
    gallery = open_gallery(path)
    support = gallery.source(name)
    entries = [entry for entry in source_entries(path) if entry.name == name]
    return SourceDetails(
        name=name,
        role=support.role,
        count=len(support),
        coherence=coherence(support),
        provenance=support.provenance,
        origins=tuple(entry.origin for entry in entries),
        fingerprint=gallery.fingerprint_digest,
    )


def coherence(support: SupportSet) -> float | None:
    """Return the mean cosine over all pairs of different images, -1..1; None for one image.

    |sum z|^2 is the sum over all ordered pairs, n of which are an image with itself.
    """
    count = len(support)
    if count < 2:
        return None
    total = support.fingerprints.sum(axis=0, dtype=np.float64)
    own = float(np.square(support.fingerprints, dtype=np.float64).sum())
    return (float(total @ total) - own) / (count * (count - 1))


def _stores(path: Path | None) -> list[tuple[Origin, GalleryStore]]:
    user = (Origin.USER, user_store(path))
    return [user] if path is not None else [(Origin.SHIPPED, shipped_store()), user]


def _entries(origin: Origin, store: GalleryStore) -> list[SourceEntry]:
    manifest = store.manifest()
    if manifest is None:
        return []
    return [
        SourceEntry(
            name=name,
            role=record.role,
            count=record.count,
            origin=origin,
            provenance=record.provenance,
            updated=record.updated,
            fingerprint=manifest.fingerprint.digest,
        )
        for name, record in manifest.sources.items()
    ]
