from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from lineup import files
from lineup.errors import GalleryError, SourceNotFoundError
from lineup.gallery import store as store_module
from lineup.gallery.store import GalleryStore
from lineup.gallery.support import SourceRole


def source_files(store: GalleryStore) -> list[str]:
    return sorted(path.name for path in (store.path / "sources").iterdir())


def named_files(store: GalleryStore) -> list[str]:
    manifest = store.manifest()
    assert manifest is not None
    return sorted(record.file for record in manifest.sources.values())


class TestAdding:
    def test_what_was_added_is_read_back(self, store, add, make_support):
        dalle = make_support(provenance="press kit")
        real = make_support("real", 3, role=SourceRole.REAL)
        assert add(store, dalle) == 5
        assert add(store, real) == 3
        gallery = store.read()
        assert gallery.source("dalle3").ids == dalle.ids
        assert gallery.source("dalle3").provenance == "press kit"
        assert gallery.source("real").role is SourceRole.REAL
        assert gallery.fingerprint_name == "tiny"
        cosines = (gallery.source("dalle3").fingerprints * dalle.fingerprints).sum(axis=1)
        assert np.all(cosines > 1 - 1e-6)

    def test_known_images_are_not_added_again(self, store, add, make_support):
        assert add(store, make_support(count=3)) == 3
        before = (store.path / "manifest.json").read_bytes()
        assert add(store, make_support(count=3)) == 0
        assert (store.path / "manifest.json").read_bytes() == before
        assert add(store, make_support(count=5)) == 2
        assert store.read().source("dalle3").ids == make_support(count=5).ids

    def test_repeats_within_one_call_count_once(self, store, digest, make_support):
        support = make_support(count=3)
        rows = [0, 1, 0, 2, 1]
        added = store.add(
            "dalle3",
            support.fingerprints[rows],
            [support.ids[row] for row in rows],
            fingerprint_digest=digest,
        )
        assert added == 3
        assert store.read().source("dalle3").ids == support.ids

    def test_batches_give_the_same_digest_as_one_call(self, tmp_path, add, make_support):
        whole, parts = GalleryStore(tmp_path / "whole"), GalleryStore(tmp_path / "parts")
        add(whole, make_support(count=6))
        for first in (4, 0, 2):
            add(parts, make_support(count=2, first=first))
        assert parts.read().digest == whole.read().digest

    def test_nothing_to_add_makes_no_folder(self, store, digest):
        empty = np.empty((0, 48), np.float32)
        assert store.add("dalle3", empty, [], fingerprint_digest=digest) == 0
        assert not store.path.exists()

    def test_another_fingerprint_is_refused(self, store, add, make_support):
        add(store, make_support())
        with pytest.raises(GalleryError, match=r"aaaaaaaaaaaa, expected bbbbbbbbbbbb\n.*again"):
            add(store, make_support("sd"), fingerprint_digest="b" * 64)
        with pytest.raises(GalleryError, match="expected bbbbbbbbbbbb"):
            store.check("sd", role=None, fingerprint_digest="b" * 64)
        assert list(store.read().sources) == ["dalle3"]

    def test_an_emptied_gallery_takes_another_fingerprint(self, store, add, make_support):
        add(store, make_support())
        store.remove("dalle3")
        add(store, make_support(dimension=8), fingerprint_digest="b" * 64)
        assert store.read().fingerprint_digest == "b" * 64

    def test_another_dimension_is_refused(self, store, add, make_support):
        add(store, make_support())
        with pytest.raises(GalleryError, match="dimension 48, got 8"):
            add(store, make_support("sd", dimension=8))

    def test_the_role_stays_unless_it_conflicts(self, store, add, make_support):
        add(store, make_support(count=1), role=SourceRole.REAL)
        add(store, make_support(count=2))
        assert store.read().source("dalle3").role is SourceRole.REAL
        with pytest.raises(GalleryError, match="role real, not candidate"):
            add(store, make_support(count=3), role=SourceRole.CANDIDATE)
        with pytest.raises(GalleryError, match="role real, not candidate"):
            store.check("dalle3", role=SourceRole.CANDIDATE, fingerprint_digest="a" * 64)

    def test_malformed_input_changes_nothing(self, store, digest, make_support):
        support = make_support()
        for rows, ids in [
            (support.fingerprints[:2], support.ids),
            (support.fingerprints * 2, support.ids),
            (support.fingerprints, ("x",) * 5),
        ]:
            with pytest.raises(GalleryError):
                store.add("dalle3", rows, ids, fingerprint_digest=digest)
        with pytest.raises(GalleryError):
            store.add("../x", support.fingerprints, support.ids, fingerprint_digest=digest)
        assert store.manifest() is None

    def test_sources_whose_file_names_collide_are_kept_apart(self, store, add, make_support):
        dotted = make_support("sd.1", 2)
        scored = dataclasses.replace(dotted, name="sd_1")
        add(store, dotted)
        add(store, scored)
        assert len(source_files(store)) == 1
        store.remove("sd.1")
        assert store.read().source("sd_1").ids == scored.ids

    def test_merge_takes_all_sources_or_none(self, store, add, make_support, make_gallery):
        add(store, make_support(count=2))
        add(store, make_support("sd", 2), role=SourceRole.REAL)
        before = store.read().digest
        incoming = make_gallery(make_support(count=5), make_support("sd"))
        with pytest.raises(GalleryError, match="role real, not candidate"):
            store.merge(incoming)
        assert store.read().digest == before
        assert source_files(store) == named_files(store)
        assert store.merge(make_gallery(make_support(count=5))) == {"dalle3": 3}
        assert source_files(store) == named_files(store)
        assert store.merge(make_gallery()) == {}


class TestRemoving:
    def test_a_removed_source_is_gone_with_its_file(self, store, add, make_support):
        add(store, make_support())
        add(store, make_support("sd"))
        store.remove("sd")
        assert list(store.read().sources) == ["dalle3"]
        assert source_files(store) == named_files(store)

    def test_a_damaged_source_can_be_removed(self, store, add, make_support):
        add(store, make_support())
        (store.path / "sources" / source_files(store)[0]).write_bytes(b"")
        store.remove("dalle3")
        assert not store.read().sources

    def test_an_absent_source_is_told_together_with_the_present_ones(
        self, store, add, make_support
    ):
        with pytest.raises(SourceNotFoundError, match="there is none yet"):
            store.remove("sd")
        assert not store.path.exists()
        add(store, make_support())
        with pytest.raises(SourceNotFoundError, match="there are: dalle3"):
            store.remove("sd")


class TestReading:
    def test_a_folder_without_a_manifest_is_no_gallery(self, store, tmp_path):
        with pytest.raises(GalleryError, match=r"has no manifest\.json"):
            store.read()
        (tmp_path / "file").touch()
        with pytest.raises(GalleryError, match="is not a gallery"):
            GalleryStore(tmp_path / "file").read()

    @pytest.mark.parametrize("change", ["flip", "truncate", "empty", "delete"])
    def test_an_altered_file_is_refused_by_name(self, store, add, make_support, change):
        add(store, make_support())
        path = store.path / "sources" / source_files(store)[0]
        data = bytearray(path.read_bytes())
        if change == "delete":
            path.unlink()
        else:
            data[-1] ^= 1
            path.write_bytes({"flip": data, "truncate": data[:-9], "empty": b""}[change])
        with pytest.raises(GalleryError, match=path.name):
            store.read()
        with pytest.raises(GalleryError, match=path.name):
            store.ids("dalle3")
        with pytest.raises(GalleryError, match=path.name):
            add(store, make_support(count=9))

    def test_a_file_with_the_right_hash_is_still_not_trusted(self, store, add, make_support):
        add(store, make_support())
        manifest_path = store.path / "manifest.json"
        path = store.path / "sources" / source_files(store)[0]
        raw = json.loads(manifest_path.read_text())
        raw["sources"]["dalle3"]["count"] = 7
        del raw["sha256"]
        manifest_path.write_text(json.dumps(raw))
        with pytest.raises(GalleryError, match=r"5 fingerprints .* says 7"):
            store.read()
        path.write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}{}{}{}")
        raw["sources"]["dalle3"]["sha256"] = files.sha256_from_file(path)
        manifest_path.write_text(json.dumps(raw))
        with pytest.raises(GalleryError, match="not a valid safetensors file"):
            store.read()

    def test_a_reader_overtaken_by_a_writer_reads_the_new_state(
        self, store, add, make_support, monkeypatch
    ):
        add(store, make_support(count=2))
        read_source = store_module.read_source
        writes = iter([3, 4])

        def overtaken(folder, name, record, dimension):
            for count in writes:
                monkeypatch.setattr(store_module, "read_source", read_source)
                add(store, make_support(count=count))
                monkeypatch.setattr(store_module, "read_source", overtaken)
                break
            return read_source(folder, name, record, dimension)

        monkeypatch.setattr(store_module, "read_source", overtaken)
        assert len(store.read().source("dalle3")) == 4

    def test_ids_of_an_absent_source_are_empty(self, store, add, make_support):
        assert store.ids("dalle3") == frozenset()
        add(store, make_support())
        assert store.ids("dalle3") == set(make_support().ids)
        assert store.ids("sd") == frozenset()
