"""Small support sets with known content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lineup.gallery.gallery import Gallery
from lineup.gallery.store import GalleryStore
from lineup.gallery.support import SourceRole, SupportSet

DIGEST = "a" * 64
DIMENSION = 48

MakeSupport = Callable[..., SupportSet]
MakeGallery = Callable[..., Gallery]


def support_of(
    name: str = "dalle3",
    count: int = 5,
    *,
    first: int = 0,
    role: SourceRole = SourceRole.CANDIDATE,
    dimension: int = DIMENSION,
    provenance: str = "",
) -> SupportSet:
    """Rows and ids depend on the name and on the image's number, `first` being the lowest."""
    rows, ids = [], []
    for number in range(first, first + count):
        image_id = hashlib.sha256(f"{name}/{number}".encode()).hexdigest()
        generator = np.random.default_rng(int(image_id[:8], 16))
        row = generator.standard_normal(dimension)
        rows.append(row / np.linalg.norm(row))
        ids.append(image_id)
    return SupportSet(name, role, np.array(rows, np.float32), tuple(ids), provenance)


@pytest.fixture
def digest() -> str:
    return DIGEST


@pytest.fixture
def make_support() -> MakeSupport:
    return support_of


@pytest.fixture
def make_gallery() -> MakeGallery:
    def make(*supports: SupportSet, digest: str = DIGEST) -> Gallery:
        return Gallery(digest, {support.name: support for support in supports}, "tiny")

    return make


@pytest.fixture
def store(tmp_path: Path) -> GalleryStore:
    return GalleryStore(tmp_path / "gallery")


@pytest.fixture
def add() -> Callable[..., int]:
    """Return a function that adds a support set to a store."""

    def add_support(
        store: GalleryStore,
        support: SupportSet,
        *,
        role: SourceRole | None = None,
        fingerprint_digest: str = DIGEST,
    ) -> int:
        return store.add(
            support.name,
            support.fingerprints,
            support.ids,
            fingerprint_digest=fingerprint_digest,
            fingerprint_name="tiny",
            role=role,
            provenance=support.provenance,
        )

    return add_support
