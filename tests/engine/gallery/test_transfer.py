from __future__ import annotations

import pytest

from lineup.errors import GalleryError
from lineup.gallery.archive import write_archive
from lineup.gallery.gallery import SourceRole
from lineup.gallery.transfer import gallery_from_path, import_gallery


def test_folders_and_archives_are_read_alike(store, tmp_path, make_gallery, make_support):
    store.merge(make_gallery(make_support()))
    archive = tmp_path / "x.safetensors"
    write_archive(archive, store.read())
    assert gallery_from_path(archive).digest == gallery_from_path(store.path).digest
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
