from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lineup.bundles.store import BundleStore
from lineup.errors import GalleryError
from lineup.gallery import opening as opening_module
from lineup.gallery.opening import (
    Origin,
    gallery_from_path,
    import_gallery,
    known_gallery,
    open_gallery,
    shipped_path,
    source_entries,
    user_store,
)
from lineup.gallery.store import GalleryStore
from lineup.gallery.support import SourceRole
from lineup.gallery.tensors import write_gallery
from lineup.paths import home_dir

STORED = Path(__file__).with_name("stored")
"""A gallery of version 0.1: as a folder, and as one file."""


@pytest.fixture
def ship(tmp_path, monkeypatch, make_gallery):
    """Return a function that makes support sets the shipped gallery; it starts empty."""
    folder = tmp_path / "shipped"
    monkeypatch.setattr(opening_module, "shipped_dir", lambda: folder)
    monkeypatch.setenv("LINEUP_HOME", str(tmp_path / "home"))

    def write(*supports, digest="a" * 64, file="gallery"):
        gallery = make_gallery(*supports, digest=digest)
        write_gallery(folder / f"{file}.safetensors", gallery)
        return gallery

    return write


@pytest.fixture
def own(ship):
    return user_store()


class TestOpening:
    def test_shipped_and_own_sources_are_merged(self, ship, own, add, make_support):
        ship(make_support(count=2))
        assert list(open_gallery().sources) == ["dalle3"]
        add(own, make_support(count=3))
        add(own, make_support("mine"))
        gallery = open_gallery()
        assert len(gallery.source("dalle3")) == 3
        assert list(gallery.sources) == ["dalle3", "mine"]

    def test_own_sources_alone_are_enough(self, own, add, make_support):
        add(own, make_support())
        assert list(open_gallery().sources) == ["dalle3"]

    def test_no_gallery_at_all_is_told(self, own, add, make_support):
        with pytest.raises(GalleryError, match=r"no gallery yet\n.*lineup enroll"):
            open_gallery()
        add(own, make_support())
        own.remove("dalle3")
        with pytest.raises(GalleryError, match="no gallery yet"):
            open_gallery()

    def test_galleries_of_different_fingerprints_are_told_apart(self, ship, own, add, make_support):
        ship(make_support())
        add(own, make_support("mine"), fingerprint_digest="b" * 64)
        with pytest.raises(
            GalleryError, match=r"bbbbbbbbbbbb, the shipped .* aaaaaaaaaaaa\n.*move"
        ):
            open_gallery()
        own.remove("mine")
        assert list(open_gallery().sources) == ["dalle3"]

    def test_a_folder_is_opened_alone(self, ship, tmp_path, add, make_support):
        ship(make_support())
        other = GalleryStore(tmp_path / "other")
        add(other, make_support("sd"))
        assert list(open_gallery(other.path).sources) == ["sd"]
        with pytest.raises(GalleryError, match="is not a gallery"):
            open_gallery(tmp_path / "absent")

    def test_a_file_is_opened_alone_and_not_changed(self, ship, make_support):
        gallery = ship(make_support())
        path = shipped_path()
        assert open_gallery(path).digest == gallery.digest
        with pytest.raises(GalleryError, match=r"only a gallery folder.*\n.*gallery import"):
            user_store(path)

    def test_the_extractor_in_use_must_have_made_it(self, ship, make_support, digest):
        gallery = ship(make_support())
        assert open_gallery(fingerprint_digest=digest).digest == gallery.digest
        with pytest.raises(GalleryError, match="aaaaaaaaaaaa, expected bbbbbbbbbbbb"):
            open_gallery(fingerprint_digest="b" * 64)


def test_a_lineups_gallery_joins_the_shipped_one_and_the_users_own(tmp_path) -> None:
    default = open_gallery()
    digest = default.fingerprint_digest
    length = next(iter(default.sources.values())).fingerprints.shape[1]
    store = GalleryStore(tmp_path / "lineup")
    rows = np.eye(3, length, dtype=np.float32)
    ids = [f"{number:064x}" for number in range(3)]
    store.add("pocket", rows, ids, fingerprint_digest=digest)
    joined = known_gallery(joining=store.path, fingerprint_digest=digest)
    assert set(joined.sources) == {*default.sources, "pocket"}


def test_a_gallery_of_another_fingerprint_stands_alone(tmp_path) -> None:
    store = GalleryStore(tmp_path / "lineup")
    ids = [f"{number:064x}" for number in range(3)]
    store.add("mine", np.eye(3, 8, dtype=np.float32), ids, fingerprint_digest="f" * 64)
    assert set(known_gallery(joining=store.path, fingerprint_digest="f" * 64).sources) == {"mine"}


def test_shipped_photographs_join_a_gallery_of_the_same_fingerprint(
    ship, tmp_path, add, make_support, digest
):
    other = GalleryStore(tmp_path / "other")
    add(other, make_support("sd"))

    def known():
        sources = known_gallery(other.path, fingerprint_digest=digest).sources.values()
        return {one.name: one.role for one in sources}

    alone = {"sd": SourceRole.CANDIDATE}
    assert known() == alone
    photographs = make_support("photos", role=SourceRole.REAL)
    ship(make_support(), photographs)
    assert known() == alone | {"photos": SourceRole.REAL}
    ship(make_support(), photographs, digest="b" * 64)
    assert known() == alone
    ship(make_support("sd", role=SourceRole.REAL))
    assert known() == alone


def test_entries_say_where_a_source_is_stored(ship, own, make_gallery, make_support):
    assert source_entries() == []
    ship(make_support(count=2))
    own.merge(make_gallery(make_support(count=3), make_support("mine", provenance="me")))
    assert [(e.name, e.count, e.origin) for e in source_entries()] == [
        ("dalle3", 2, Origin.SHIPPED),
        ("dalle3", 3, Origin.USER),
        ("mine", 5, Origin.USER),
    ]
    assert [entry.updated is None for entry in source_entries()] == [True, False, False]
    assert [entry.origin for entry in source_entries(shipped_path())] == [Origin.USER]
    with pytest.raises(GalleryError, match="is not a gallery"):
        source_entries(own.path / "absent")


def test_entries_are_listed_even_where_fingerprints_differ(ship, own, make_gallery, make_support):
    ship(make_support())
    own.merge(make_gallery(make_support("mine"), digest="b" * 64))
    assert [entry.fingerprint[0] for entry in source_entries()] == ["a", "b"]


def test_folders_and_files_are_read_alike(store, tmp_path, make_gallery, make_support):
    store.merge(make_gallery(make_support()))
    file = tmp_path / "x.safetensors"
    write_gallery(file, store.read())
    assert gallery_from_path(file).digest == gallery_from_path(store.path).digest
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(GalleryError, match="is not a"):
            gallery_from_path(path)


def test_importing_adds_each_image_once(store, make_gallery, make_support):
    store.merge(make_gallery(make_support(count=2)))
    incoming = make_gallery(make_support(count=5), make_support("sd", 3))
    assert import_gallery(store, incoming) == {"dalle3": 3, "sd": 3}
    assert import_gallery(store, incoming) == {"dalle3": 0, "sd": 0}
    assert store.read().digest == make_gallery(*store.read().sources.values()).digest


def test_what_the_base_has_is_not_stored_again(store, make_gallery, make_support):
    base = make_gallery(make_support(count=4), make_support("sd", 3))
    incoming = make_gallery(make_support(count=5), make_support("sd", 3))
    assert import_gallery(store, incoming, base=base) == {"dalle3": 1, "sd": 0}
    assert {name: len(support) for name, support in store.read().sources.items()} == {"dalle3": 1}


def test_a_conflict_with_the_base_imports_nothing(store, make_gallery, make_support):
    base = make_gallery(make_support(count=4))
    for incoming in (
        make_gallery(make_support("sd"), digest="b" * 64),
        make_gallery(make_support("sd"), make_support(role=SourceRole.REAL)),
    ):
        with pytest.raises(GalleryError):
            import_gallery(store, incoming, base=base)
    assert store.manifest() is None


@pytest.mark.parametrize("name", ["gallery", "gallery.safetensors"])
def test_what_version_0_1_stored_is_read(name, store, make_support):
    gallery = gallery_from_path(STORED / name)
    assert gallery.digest == "f2a339183d3411f7f36831b0db74d23532f4207c1ad0caf029ef54f56415fabe"
    assert gallery.source("dalle3").ids == make_support(count=3, dimension=8).ids
    assert gallery.source("dalle3").provenance == "press kit"
    assert [entry.count for entry in source_entries(STORED / name)] == [3, 2]


def test_what_version_0_1_stored_can_be_enrolled_into(tmp_path, add, make_support):
    folder = shutil.copytree(STORED / "gallery", tmp_path / "gallery")
    assert add(GalleryStore(folder), make_support(count=5, dimension=8)) == 2
    gallery = GalleryStore(folder).read()
    assert {name: len(one) for name, one in gallery.sources.items()} == {"dalle3": 5, "real": 2}


def test_galleries_and_classifiers_made_with_version_0_2_stay_comparable():
    """They name this bundle; another digest would ask users to enrol everything again."""
    digest = "8ace98f326db4065c75fa3ed33f04c85ca756b03202dd3a83819566705e749bb"
    assert BundleStore(home_dir()).open("whitened-spectrum").digest == digest
    assert open_gallery().fingerprint_digest == digest


def test_shipped_generators_are_what_others_are_like_in_a_named_gallery(
    ship, own, tmp_path, add, make_support, digest
):
    other = GalleryStore(tmp_path / "other")
    add(other, make_support("sd"))

    def others(*place):
        return [one.name for one in known_gallery(*place, fingerprint_digest=digest).others]

    assert others(other.path) == []
    ship(make_support("dalle3"), make_support("sd"), make_support("photos", role=SourceRole.REAL))
    assert others(other.path) == ["dalle3"]  # its own is the one it knows
    assert others() == []
    ship(make_support("dalle3"), digest="b" * 64)
    assert others(other.path) == []


def test_shipped_others_take_part_unnamed_in_every_gallery(
    ship, own, tmp_path, add, make_support, digest
):
    other = GalleryStore(tmp_path / "other")
    add(other, make_support("sd"))
    ship(make_support("dalle3"))

    def others(**place):
        found = known_gallery(**{"path": None, **place}, fingerprint_digest=digest).others
        return {one.name: len(one) for one in found}

    ship(make_support("flux", count=4), make_support("sd", count=4), file="others")
    assert others() == {"flux": 4, "sd": 4}
    assert others(path=other.path) == {"dalle3": 5, "flux": 4}  # its own sd is the one it knows
    assert others(joining=other.path) == {"flux": 4}
    add(own, replace(make_support("flux", count=3), name="mine"))
    assert others() == {"flux": 1, "sd": 4}  # what is enrolled under any name is no other's
    ship(make_support("flux"), digest="b" * 64, file="others")
    assert others() == {}
    assert list(open_gallery().sources) == ["dalle3", "mine"]
