from __future__ import annotations

import hashlib

import cv2
import numpy as np
import pytest

from lineup.errors import ClassifierError, GalleryError, UsageError
from lineup.gallery.gallery import Gallery
from lineup.gallery.opening import shipped_gallery
from lineup.gallery.store import GalleryStore
from lineup.gallery.support import SourceRole, SupportSet
from lineup.gallery.tensors import write_gallery
from lineup_lab.fit_classifier import (
    classes_from_gallery,
    holds_fingerprints,
    reject_from_gallery,
    reject_from_images,
    shipped_reject,
)


class ColourExtractor:
    parts = ()

    def tiles(self, pixels):
        return pixels.mean(axis=(0, 1)).astype(np.uint8).reshape(1, 1, 1, 3)

    def fingerprints_from_tiles(self, tiles):
        rows = np.stack([image.reshape(-1, 3).mean(axis=0) for image in tiles])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    def notes(self, pixels):
        return ()


def ids(name, count):
    return tuple(hashlib.sha256(f"{name}{i}".encode()).hexdigest() for i in range(count))


@pytest.fixture
def gallery(rows):
    roles = {"b": SourceRole.CANDIDATE, "a": SourceRole.CANDIDATE, "web": SourceRole.REAL}
    sets = [
        SupportSet(name, role, rows(4 + i, i), ids(name, 4 + i))
        for i, (name, role) in enumerate({**roles, "real": SourceRole.REAL}.items())
    ]
    return Gallery("d1ge57", {one.name: one for one in sets})


def test_classes_of_a_gallery_are_its_candidates_and_photographs(gallery):
    classes = classes_from_gallery(gallery)

    assert {name: len(rows) for name, rows in classes.items()} == {"a": 5, "b": 4, "real": 13}


def test_archive_and_folder_give_every_fingerprint_to_reject(gallery, tmp_path):
    write_gallery(tmp_path / "g.safetensors", gallery)
    store = GalleryStore(tmp_path / "folder")
    store.merge(gallery)

    for path in (tmp_path / "g.safetensors", tmp_path / "folder"):
        assert holds_fingerprints(path)
        assert reject_from_gallery(path, fingerprint_digest="d1ge57").shape == (22, 24)


def test_gallery_of_another_fingerprint_is_refused(gallery, tmp_path):
    write_gallery(tmp_path / "g.safetensors", gallery)

    with pytest.raises(GalleryError, match="was made with the fingerprint d1ge57"):
        reject_from_gallery(tmp_path / "g.safetensors", fingerprint_digest="0ther")


def test_images_of_a_folder_are_fingerprinted_and_broken_ones_reported(tmp_path):
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((4, 4, 3), 50 + i, np.uint8))
    (tmp_path / "broken.png").write_bytes(b"")
    seen = []

    rejected = reject_from_images(tmp_path, ColourExtractor(), on_file=seen.append)

    assert not holds_fingerprints(tmp_path)
    assert rejected.shape == (3, 3)
    assert [image.path.name for image in seen if image.error is not None] == ["broken.png"]


def test_nothing_to_reject_is_refused(tmp_path):
    with pytest.raises(ClassifierError, match="no fingerprint or readable image"):
        reject_from_images(tmp_path, ColourExtractor())
    with pytest.raises(UsageError, match="does not exist"):
        holds_fingerprints(tmp_path / "absent")


def test_the_shipped_fingerprints_belong_to_the_shipped_bundle_and_to_no_other():
    digest = shipped_gallery().fingerprint_digest
    reject = shipped_reject(fingerprint_digest=digest)

    assert reject is not None
    assert len(reject) == 100
    assert shipped_reject(fingerprint_digest="another") is None
