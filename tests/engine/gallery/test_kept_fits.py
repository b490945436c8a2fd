"""Fits of galleries that are kept: the same answers, sooner; never those of another gallery."""

from __future__ import annotations

import dataclasses
import logging
import os

import numpy as np
import pytest

import lineup
from lineup.gallery import comparing, kept_fits
from lineup.gallery.channel_comparing import Images
from lineup.gallery.comparing import Comparison
from lineup.gallery.gallery import Gallery
from lineup.gallery.kept_fits import MOST_KEPT, KeptFits
from lineup.gallery.support import SourceRole, SupportSet

DIMENSION = 48
KEY = "embeddings-x"


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def support(name, seed, role=SourceRole.CANDIDATE, count=40):
    draw = np.random.default_rng(seed)
    rows = {
        f"{channel}/{what}": unit(draw.normal(seed % 3, 1, (count, DIMENSION))).astype(np.float16)
        for channel in ("clean", "jpeg:70", "drawn")
        for what in ("fingerprints", KEY)
    }
    clean = unit(rows.pop("clean/fingerprints").astype(np.float32))
    return SupportSet(
        name, role, clean, tuple(f"{seed:x}{at:063x}" for at in range(count)), "", rows
    )


@pytest.fixture(scope="module")
def gallery():
    sources = [support("a", 1), support("b", 2), support("real", 3, SourceRole.REAL)]
    return Gallery("digest", {one.name: one for one in sources}, others=(support("c", 4),))


@pytest.fixture
def kept(tmp_path):
    return KeptFits(tmp_path / "fits")


def never(*_):
    raise AssertionError("fitted again")


@pytest.mark.parametrize("embeddings", [None, KEY])
def test_a_kept_fit_answers_as_the_fit_itself(gallery, kept, embeddings, monkeypatch):
    draw = np.random.default_rng(9)
    rows = unit(draw.normal(size=(5, DIMENSION)))
    images = Images(rows, np.ones(5, np.float32), rows[::-1].copy())
    parts = (DIMENSION - 8, 8)
    anew = Comparison(gallery, embeddings, parts)
    Comparison(gallery, embeddings, parts, kept)

    monkeypatch.setattr(comparing, "fitted_channel", never)
    again = Comparison(gallery, embeddings, parts, kept)

    assert again.channels == anew.channels
    np.testing.assert_array_equal(again.fits(images).z, anew.fits(images).z)
    np.testing.assert_array_equal(again.fits(images).channels, anew.fits(images).channels)
    for own, expected in zip(again.own_fits, anew.own_fits, strict=True):
        np.testing.assert_array_equal(own.z, expected.z)
        np.testing.assert_array_equal(own.channels, expected.channels)
    nearness = [one.nearness(images, gallery.sources["a"], "jpeg:70") for one in (again, anew)]
    np.testing.assert_array_equal(*nearness)


def test_another_gallery_or_another_question_is_fitted_anew(gallery, kept, monkeypatch):
    Comparison(gallery, None, (), kept)
    fewer = {**gallery.sources, "a": gallery.sources["a"].of_rows(range(30))}
    alone = dataclasses.replace(gallery, others=())

    monkeypatch.setattr(comparing, "fitted_channel", never)
    for asked in ((dataclasses.replace(gallery, sources=fewer),), (alone,), (gallery, KEY)):
        with pytest.raises(AssertionError, match="fitted again"):
            Comparison(*asked, kept=kept)
    with pytest.raises(AssertionError, match="fitted again"):
        Comparison(gallery, None, (40, 8), kept)
    Comparison(gallery, None, (), kept)
    monkeypatch.setattr(kept_fits, "VERSION", 0)
    with pytest.raises(AssertionError, match="fitted again"):
        Comparison(gallery, None, (), kept)


def test_a_damaged_fit_is_made_again(gallery, kept, tmp_path, caplog):
    whole = Comparison(gallery, None, (), kept)
    (path,) = (tmp_path / "fits").iterdir()
    path.write_bytes(path.read_bytes()[:-100])

    with caplog.at_level(logging.WARNING):
        found = Comparison(gallery, None, (), kept)

    assert "is not used" in caplog.text
    np.testing.assert_array_equal(found.own_fits[0].z, whole.own_fits[0].z)


def test_what_was_not_used_for_longest_goes(kept, tmp_path):
    for number in range(MOST_KEPT + 2):
        kept.fit(str(number), lambda number=number: {"x": np.full(1, number)})
        for path in (tmp_path / "fits").iterdir():
            os.utime(path, ns=(path.stat().st_mtime_ns - 10**9,) * 2)
        assert kept.fit("0", never) is not None

    for gone in ("1", "2"):
        with pytest.raises(AssertionError, match="fitted again"):
            kept.fit(gone, never)
    there = [0, *range(3, MOST_KEPT + 2)]
    assert [int(kept.fit(str(number), never)["x"][0]) for number in there] == there


def test_where_nothing_can_be_kept_galleries_are_fitted_each_time(gallery, tmp_path):
    (tmp_path / "fits").write_text("a file")
    unusable = KeptFits(tmp_path / "fits")

    found = Comparison(gallery, None, (), unusable)

    np.testing.assert_array_equal(found.own_fits[0].z, Comparison(gallery).own_fits[0].z)


def test_an_engine_keeps_what_it_fitted_unless_it_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("LINEUP_HOME", str(tmp_path / "home"))
    folder = tmp_path / "home/fits"
    with lineup.open(cache=False) as engine:
        names = engine.candidates
    assert not folder.exists()
    with lineup.open() as engine:
        assert engine.candidates == names
    assert len(list(folder.iterdir())) == 1

    monkeypatch.setattr(comparing, "fitted_channel", never)
    with lineup.open() as engine:
        assert engine.candidates == names
