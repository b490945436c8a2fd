from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lineup.errors import GalleryError, SourceNotFoundError
from lineup.gallery.gallery import Gallery, source_not_found
from lineup.gallery.support import SourceRole, SupportSet, check_source_name


@pytest.mark.parametrize("name", ["dalle3", "SD-1.5", "a", "x" * 64, "7_b"])
def test_plain_names_are_allowed(name):
    check_source_name(name, SourceRole.CANDIDATE)


@pytest.mark.parametrize(
    "name", ["", "x" * 65, "../x", "a/b", "..", ".hidden", "-role", "a b", "é", "a\n", "a\x00", 7]
)
def test_names_that_could_leave_a_folder_or_pass_for_an_option_are_refused(name):
    with pytest.raises(GalleryError, match="cannot name a source"):
        check_source_name(name)


@pytest.mark.parametrize(
    "name", ["unknown", "Unknown", "UNKNOWN", "generated", "Undetermined", "photograph"]
)
def test_what_answers_say_is_no_name_of_a_source(name):
    with pytest.raises(GalleryError, match="answers say it where they name none"):
        check_source_name(name)


def test_real_is_reserved_for_photographs():
    check_source_name("real", SourceRole.REAL)
    check_source_name("flickr", SourceRole.REAL)
    for name, role in [("real", SourceRole.CANDIDATE), ("Real", SourceRole.REAL)]:
        with pytest.raises(GalleryError, match="photographs"):
            check_source_name(name, role)


def with_row(rows: np.ndarray, row: int, value: float) -> np.ndarray:
    changed = rows.copy()
    changed[row] = value
    return changed


@pytest.mark.parametrize(
    ("break_rows", "message"),
    [
        (lambda rows: rows.astype(np.float64), "float32"),
        (lambda rows: rows.tolist(), "float32 array, got list"),
        (lambda rows: rows[0], r"shape \(images, dimension\)"),
        (lambda rows: rows[:0], "at least 1"),
        (lambda rows: rows * np.float32(1.01), "norm 1, row 0"),
        (lambda rows: with_row(rows, 2, np.nan), "row 2"),
        (lambda rows: with_row(rows, 1, np.inf), "row 1"),
        (lambda rows: rows * np.float32(0), "norm 1"),
    ],
)
def test_fingerprints_are_checked(make_support, break_rows, message):
    good = make_support()
    with pytest.raises(GalleryError, match=message):
        SupportSet("dalle3", SourceRole.CANDIDATE, break_rows(good.fingerprints), good.ids)


@pytest.mark.parametrize(
    ("break_ids", "message"),
    [
        (lambda ids: ids[:-1], "5 fingerprints need 5 ids, got 4"),
        (lambda ids: (*ids[:-1], ids[0]), "only 4 different"),
        (lambda ids: (*ids[:-1], "photo.jpg"), "not the hex SHA-256"),
        (lambda ids: (*ids[:-1], ids[-1].upper() + "\n"), "not the hex SHA-256"),
        (lambda ids: (*ids[:-1], 7), "not the hex SHA-256"),
    ],
)
def test_ids_are_checked(make_support, break_ids, message):
    good = make_support()
    with pytest.raises(GalleryError, match=message):
        SupportSet("dalle3", SourceRole.CANDIDATE, good.fingerprints, break_ids(good.ids))


def test_a_support_set_has_a_name_that_a_source_may_have(make_support):
    for name in ("../dalle3", "generated"):
        with pytest.raises(GalleryError, match="name"):
            make_support(name)


def test_provenance_is_one_printable_line(make_support):
    good = make_support()
    support = dataclasses.replace(good, provenance=" from\n the\tpress kit ")
    assert support.provenance == "from the press kit"
    with pytest.raises(GalleryError, match="control characters"):
        dataclasses.replace(good, provenance="\x1b[2J gone")


def test_coherence_is_the_mean_cosine_of_different_images(make_support):
    rows = np.zeros((3, 48), np.float32)
    rows[:2, 0], rows[2, 1] = 1, 1
    support = dataclasses.replace(make_support(count=3), fingerprints=rows)

    assert support.coherence == pytest.approx(1 / 3)
    assert make_support(count=1).coherence is None


def test_a_support_set_cannot_change(make_support):
    source = make_support()
    rows = source.fingerprints.copy()
    support = SupportSet("dalle3", SourceRole.CANDIDATE, rows, source.ids)
    rows[:] = 0
    assert np.array_equal(support.fingerprints, source.fingerprints)
    with pytest.raises(ValueError, match="read-only"):
        support.fingerprints[0, 0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        support.name = "other"


def test_a_gallery_cannot_change(make_support):
    sources = {"dalle3": make_support()}
    gallery = Gallery("a" * 64, sources)
    sources.clear()
    assert list(gallery.sources) == ["dalle3"]
    with pytest.raises(TypeError):
        gallery.sources["x"] = make_support("x")
    with pytest.raises(dataclasses.FrozenInstanceError):
        gallery.fingerprint_digest = "b" * 64


def test_a_gallery_is_checked(make_support, make_gallery):
    with pytest.raises(GalleryError, match="one dimension"):
        make_gallery(make_support("a"), make_support("b", dimension=8))
    with pytest.raises(GalleryError, match="filed under the name 'b'"):
        Gallery("a" * 64, {"b": make_support("a")})
    with pytest.raises(GalleryError, match="not the digest"):
        Gallery("", {})


def test_sources_are_sorted_and_split_by_role(make_support, make_gallery):
    gallery = make_gallery(
        make_support("sd"), make_support("real", role=SourceRole.REAL), make_support("dalle3")
    )
    assert list(gallery.sources) == ["dalle3", "real", "sd"]
    assert [support.name for support in gallery.candidates] == ["dalle3", "sd"]
    assert [support.name for support in gallery.reals] == ["real"]
    assert gallery.dimension == 48
    assert make_gallery().dimension is None


def test_an_absent_source_is_named_together_with_the_present_ones(make_support, make_gallery):
    gallery = make_gallery(make_support("sd"), make_support("dalle3"))
    assert gallery.source("sd").name == "sd"
    with pytest.raises(SourceNotFoundError, match="'sdxl'; there are: dalle3, sd"):
        gallery.source("sdxl")


def test_the_digest_ignores_order_and_batches(make_support, make_gallery):
    whole = make_gallery(make_support(count=5), make_support("sd"))
    parts = make_gallery(make_support("sd")).merged_with(
        make_gallery(make_support(count=2, first=3))
    )
    parts = parts.merged_with(make_gallery(make_support(count=4)))
    assert parts.digest == whole.digest


def test_the_digest_sees_every_part_of_the_content(make_support, make_gallery):
    support = make_support()
    flipped = dataclasses.replace(support, fingerprints=-support.fingerprints)
    swapped = dataclasses.replace(support, ids=support.ids[::-1])
    half = support.fingerprints.astype(np.float16)
    views = [{"webp": half}, {"jpeg": half}, {"jpeg": -half}]
    galleries = [
        make_gallery(support),
        make_gallery(support, digest="b" * 64),
        make_gallery(dataclasses.replace(support, name="dalle2")),
        make_gallery(dataclasses.replace(support, role=SourceRole.REAL)),
        make_gallery(flipped),
        make_gallery(swapped),
        make_gallery(make_support(count=4)),
        make_gallery(support, make_support("sd")),
        *(make_gallery(dataclasses.replace(support, views=one)) for one in views),
    ]
    assert len({gallery.digest for gallery in galleries}) == len(galleries)
    again = make_gallery(dataclasses.replace(support, provenance="elsewhere"))
    assert again.digest == galleries[0].digest


def test_merging_deduplicates_and_keeps_the_present_row(make_support, make_gallery):
    ours = make_support(count=3, provenance="press kit; our own")
    theirs = make_support(count=5, provenance="our own; a friend")
    theirs = dataclasses.replace(theirs, fingerprints=-theirs.fingerprints)
    merged = make_gallery(ours).merged_with(make_gallery(theirs)).source("dalle3")
    assert merged.ids == make_support(count=5).ids
    assert np.array_equal(merged.fingerprints[:3], ours.fingerprints)
    assert np.array_equal(merged.fingerprints[3:], theirs.fingerprints[3:])
    assert merged.provenance == "press kit; our own; a friend"


def test_names_of_files_follow_their_images(make_support, make_gallery):
    ours, theirs = make_support(count=2), make_support(count=4)
    theirs = dataclasses.replace(theirs, names=("a.png", "b.png", "c.png", "d.png"))
    merged = make_gallery(ours).merged_with(make_gallery(theirs)).source("dalle3")
    assert merged.names == ("", "", "c.png", "d.png")
    assert theirs.without_images(ours.ids).names == ("c.png", "d.png")
    assert make_gallery(ours).merged_with(make_gallery(ours)).source("dalle3").names == ()
    with pytest.raises(GalleryError, match="4 images, but 1 names"):
        dataclasses.replace(theirs, names=("a.png",))


def test_merging_refuses_what_does_not_belong_together(make_support, make_gallery):
    ours = make_gallery(make_support())
    with pytest.raises(GalleryError, match=r"fingerprint bbbbbbbbbbbb.*\n.*enrol the images again"):
        ours.merged_with(make_gallery(make_support(), digest="b" * 64))
    with pytest.raises(GalleryError, match=r"role candidate, not real\n.*Enrol the images again"):
        ours.merged_with(make_gallery(make_support(role=SourceRole.REAL)))
    with pytest.raises(GalleryError, match="dimension 48 here and 8"):
        ours.merged_with(make_gallery(make_support(dimension=8)))
    with pytest.raises(GalleryError, match="cannot become one set"):
        make_support("a").merged_with(make_support("b"))


@pytest.mark.parametrize(("known", "hint"), [(["dalle3"], "'dalle3'"), (["sd"], "lineup enroll")])
def test_an_unknown_source_is_told_the_closest_or_how_to_add_it(known, hint):
    error = source_not_found("dalle", dict.fromkeys(known))

    assert error.hint is not None
    assert hint in error.hint
