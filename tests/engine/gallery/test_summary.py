from __future__ import annotations

import numpy as np
import pytest

from lineup.errors import GalleryError, SourceNotFoundError
from lineup.gallery import opening as opening_module
from lineup.gallery.gallery import SourceRole, SupportSet
from lineup.gallery.summary import Origin, coherence, source_details, source_entries


@pytest.fixture
def stores(tmp_path, monkeypatch):
    monkeypatch.setattr(opening_module, "shipped_dir", lambda: tmp_path / "shipped")
    monkeypatch.setenv("LINEUP_HOME", str(tmp_path / "home"))
    return opening_module.shipped_store(), opening_module.user_store()


def test_coherence_is_the_mean_cosine_over_pairs(make_support):
    support = make_support(count=4)
    cosines = support.fingerprints @ support.fingerprints.T
    pairs = [cosines[i, j] for i in range(4) for j in range(i)]
    assert coherence(support) == pytest.approx(np.mean(pairs), abs=1e-6)
    assert coherence(make_support(count=1)) is None
    alike = np.repeat(support.fingerprints[:1], 4, axis=0)
    same = SupportSet("dalle3", SourceRole.CANDIDATE, alike, support.ids)
    assert coherence(same) == pytest.approx(1, abs=1e-6)


def test_entries_say_where_a_source_is_stored(stores, make_gallery, make_support):
    shipped, own = stores
    assert source_entries() == []
    shipped.merge(make_gallery(make_support(count=2)))
    own.merge(make_gallery(make_support(count=3), make_support("mine", provenance="me")))
    assert [(e.name, e.count, e.origin) for e in source_entries()] == [
        ("dalle3", 2, Origin.SHIPPED),
        ("dalle3", 3, Origin.USER),
        ("mine", 5, Origin.USER),
    ]
    assert [entry.origin for entry in source_entries(shipped.path)] == [Origin.USER]
    with pytest.raises(GalleryError, match="is not a gallery"):
        source_entries(shipped.path / "absent")


def test_entries_are_listed_even_where_fingerprints_differ(stores, make_gallery, make_support):
    stores[0].merge(make_gallery(make_support()))
    stores[1].merge(make_gallery(make_support("mine"), digest="b" * 64))
    assert [entry.fingerprint[0] for entry in source_entries()] == ["a", "b"]


def test_details_are_about_the_merged_source(stores, make_gallery, make_support):
    stores[0].merge(make_gallery(make_support(count=2, provenance="press kit")))
    stores[1].merge(make_gallery(make_support(count=3, provenance="me")))
    details = source_details("dalle3")
    assert details.count == 3
    assert details.origins == (Origin.SHIPPED, Origin.USER)
    assert details.provenance == "press kit; me"
    assert details.coherence == pytest.approx(coherence(make_support(count=3)), abs=1e-3)
    with pytest.raises(SourceNotFoundError, match="Known sources: dalle3"):
        source_details("sd")
