from __future__ import annotations

import numpy as np
import pytest

from lineup.errors import GalleryError
from lineup.gallery import opening as opening_module
from lineup.gallery.opening import joined_gallery, open_gallery
from lineup.gallery.store import GalleryStore


class TestOpening:
    @pytest.fixture
    def stores(self, tmp_path, monkeypatch):
        monkeypatch.setattr(opening_module, "shipped_dir", lambda: tmp_path / "shipped")
        monkeypatch.setenv("LINEUP_HOME", str(tmp_path / "home"))
        return opening_module.shipped_store(), opening_module.user_store()

    def test_shipped_and_own_sources_are_merged(self, stores, add, make_support):
        shipped, own = stores
        add(shipped, make_support(count=2))
        assert list(open_gallery().sources) == ["dalle3"]
        add(own, make_support(count=3))
        add(own, make_support("mine"))
        gallery = open_gallery()
        assert len(gallery.source("dalle3")) == 3
        assert list(gallery.sources) == ["dalle3", "mine"]

    def test_own_sources_alone_are_enough(self, stores, add, make_support):
        add(stores[1], make_support())
        assert list(open_gallery().sources) == ["dalle3"]

    def test_no_gallery_at_all_is_told(self, stores, add, make_support):
        with pytest.raises(GalleryError, match=r"no gallery yet\n.*lineup enroll"):
            open_gallery()
        add(stores[1], make_support())
        stores[1].remove("dalle3")
        with pytest.raises(GalleryError, match="no gallery yet"):
            open_gallery()

    def test_galleries_of_different_fingerprints_are_told_apart(self, stores, add, make_support):
        shipped, own = stores
        add(shipped, make_support())
        add(own, make_support("mine"), fingerprint_digest="b" * 64)
        with pytest.raises(
            GalleryError, match=r"bbbbbbbbbbbb, the shipped .* aaaaaaaaaaaa\n.*move"
        ):
            open_gallery()
        own.remove("mine")
        assert list(open_gallery().sources) == ["dalle3"]

    def test_a_folder_is_opened_alone(self, stores, tmp_path, add, make_support):
        add(stores[0], make_support())
        other = GalleryStore(tmp_path / "other")
        add(other, make_support("sd"))
        assert list(open_gallery(other.path).sources) == ["sd"]
        with pytest.raises(GalleryError, match="is not a gallery"):
            open_gallery(tmp_path / "absent")

    def test_the_extractor_in_use_must_have_made_it(self, stores, add, make_support, digest):
        add(stores[0], make_support())
        assert open_gallery(fingerprint_digest=digest).digest == stores[0].read().digest
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
    joined = joined_gallery(store.path, fingerprint_digest=digest)
    assert set(joined.sources) == {*default.sources, "pocket"}


def test_a_gallery_of_another_fingerprint_stands_alone(tmp_path) -> None:
    store = GalleryStore(tmp_path / "lineup")
    ids = [f"{number:064x}" for number in range(3)]
    store.add("mine", np.eye(3, 8, dtype=np.float32), ids, fingerprint_digest="f" * 64)
    assert set(joined_gallery(store.path, fingerprint_digest="f" * 64).sources) == {"mine"}
