import cv2
import numpy as np
import pytest

from lineup.errors import ResynthesisError
from lineup.files import sha256_from_bytes, sha256_from_file
from lineup.stored.captions import CaptionRow
from lineup.stored.store import StoredResyntheses, chosen_set, open_stored

QUERY = "ab" * 32


@pytest.fixture
def store(tmp_path):
    return StoredResyntheses(tmp_path / "resyntheses")


def image_file(path, seed, suffix=".png"):
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
    path.write_bytes(cv2.imencode(suffix, pixels)[1].tobytes())
    return path


def asked(count=1, caption="a cat", sha256=QUERY):
    seeds = tuple(range(count))
    return CaptionRow(sha256, caption, seeds, tuple(map(str, seeds)), 16, 16, path="cat.png")


def test_pictures_are_kept_as_they_came(store, tmp_path):
    path = image_file(tmp_path / "a.jpg", 0, ".jpg")

    assert store.add("bought", asked(), [path])
    (found,) = store.of_query(QUERY)["bought"]
    (image,) = found.resyntheses(1)

    assert found.caption == "a cat"
    assert found.record.row.path == "cat.png"
    assert image.parts == {"sha256": sha256_from_file(path)}
    assert found.paths[0].read_bytes() == path.read_bytes()


def test_pictures_belong_to_one_query_and_one_candidate(store, tmp_path):
    store.add("bought", asked(), [image_file(tmp_path / "a.png", 0)])

    assert store.of_query("cd" * 32) == {}
    assert store.of_query(QUERY, ["other"]) == {}
    assert [one.candidate for one in store.sets()] == ["bought"]


def test_adding_again_changes_nothing_and_other_pictures_replace(store, tmp_path):
    one, other = image_file(tmp_path / "a.png", 0), image_file(tmp_path / "b.png", 1)

    assert store.add("bought", asked(), [one])
    assert not store.add("bought", asked(), [one])
    assert store.add("bought", asked(2), [other, one])

    (found,) = store.of_query(QUERY)["bought"]
    assert [path.stem for path in found.paths] == [sha256_from_file(other), sha256_from_file(one)]
    assert store.add("bought", asked(), [other])
    assert len(list(store.folder.rglob("*.png"))) == 1


def test_each_caption_has_a_set_and_the_last_added_comes_first(store, tmp_path):
    store.add("bought", asked(), [image_file(tmp_path / "a.png", 0)])
    store.add("bought", asked(caption="a dog"), [image_file(tmp_path / "b.png", 1)])

    sets = store.of_query(QUERY)["bought"]

    assert [one.caption for one in sets] == ["a dog", "a cat"]
    assert chosen_set(sets, "a cat").caption == "a cat"
    assert chosen_set(sets, None).caption == chosen_set(sets, "a cow").caption == "a dog"


@pytest.mark.parametrize("wrong", ["text", "cut off", "the query", "twice", "absent"])
def test_of_a_wrong_picture_nothing_is_kept_and_it_is_named(store, tmp_path, wrong):
    good, bad = image_file(tmp_path / "a.png", 0), image_file(tmp_path / "b.png", 1)
    query = sha256_from_bytes(bad.read_bytes()) if wrong == "the query" else QUERY
    if wrong == "text":
        bad.write_text("text")
    elif wrong == "cut off":
        bad.write_bytes(bad.read_bytes()[:100])
    elif wrong == "twice":
        bad.write_bytes(good.read_bytes())
    elif wrong == "absent":
        bad.unlink()

    with pytest.raises(ResynthesisError, match=str(bad)):
        store.add("bought", asked(2, sha256=query), [good, bad])

    assert not store.folder.exists()


def test_what_has_no_record_is_nothing(store, tmp_path):
    store.add("bought", asked(), [image_file(tmp_path / "a.png", 0)])
    next(store.folder.rglob("set.json")).unlink()

    assert store.of_query(QUERY) == {}
    assert store.add("bought", asked(), [tmp_path / "a.png"])


@pytest.mark.parametrize("spoil", ["cut off", "replaced", "gone"])
def test_a_kept_file_that_was_spoilt_is_named(store, tmp_path, spoil):
    store.add("bought", asked(), [image_file(tmp_path / "a.png", 0)])
    kept = next(store.folder.rglob("*.png"))
    if spoil == "cut off":
        kept.write_bytes(kept.read_bytes()[:100])
    elif spoil == "replaced":
        image_file(kept, 1)
    else:
        kept.unlink()
    (found,) = store.of_query(QUERY)["bought"]

    with pytest.raises(ResynthesisError, match=str(kept)):
        found.resyntheses(1)


def test_a_record_that_was_spoilt_is_named(store, tmp_path):
    store.add("bought", asked(), [image_file(tmp_path / "a.png", 0)])
    record = next(store.folder.rglob("set.json"))
    record.write_text(record.read_text().replace(".png", "/../x.png"))

    with pytest.raises(ResynthesisError, match="files"):
        store.of_query(QUERY)


def test_sets_are_removed_by_query_or_all(store, tmp_path):
    for number, query in enumerate((QUERY, "cd" * 32)):
        picture = image_file(tmp_path / f"{number}.png", number)
        store.add("bought", asked(sha256=query), [picture])
        store.add("other", asked(sha256=query), [picture])

    assert store.remove("bought", QUERY) == 1
    assert list(store.of_query(QUERY)) == ["other"]
    assert store.remove("bought") == 1
    assert [one.candidate for one in store.sets()] == ["other", "other"]
    assert store.remove("other") == 2
    assert list(store.folder.iterdir()) == []


def test_the_store_lies_in_the_home_folder(lineup_home):
    assert open_stored().folder.is_relative_to(lineup_home)
