import cv2
import numpy as np
import pytest

from lineup.errors import ImageError
from lineup.files import sha256_from_file
from lineup.resynthesis.stored import StoredResyntheses, open_stored

QUERY = "ab" * 32


@pytest.fixture
def store(tmp_path):
    return StoredResyntheses(tmp_path / "resyntheses")


def image_file(path, seed, suffix=".png"):
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
    path.write_bytes(cv2.imencode(suffix, pixels)[1].tobytes())
    return path


def test_images_are_kept_as_they_came(store, tmp_path):
    path = image_file(tmp_path / "a.jpg", 0, ".jpg")

    report = store.add(QUERY, "bought", [path])
    (image,) = store.of_query(QUERY)["bought"]

    assert (report.added, report.present, report.failed) == (1, 0, ())
    assert image.parts == {"sha256": sha256_from_file(path)}
    assert next(store.folder.rglob("*.jpeg")).read_bytes() == path.read_bytes()


def test_images_belong_to_one_query(store, tmp_path):
    store.add(QUERY, "bought", [image_file(tmp_path / "a.png", 0)])

    assert store.of_query("cd" * 32) == {}


def test_adding_again_adds_nothing(store, tmp_path):
    path = image_file(tmp_path / "a.png", 0)
    store.add(QUERY, "bought", [path])

    report = store.add(QUERY, "bought", [path, image_file(tmp_path / "b.png", 1)])

    assert (report.added, report.present) == (1, 1)
    assert len(store.of_query(QUERY)["bought"]) == 2


def test_what_is_no_image_is_reported_and_not_kept(store, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_text("text")

    report = store.add(QUERY, "bought", [bad, image_file(tmp_path / "a.png", 0)])

    assert report.added == 1
    assert report.failed[0][0] == bad
    assert len(store.of_query(QUERY)["bought"]) == 1


def test_a_stored_file_that_was_spoilt_is_named(store, tmp_path):
    store.add(QUERY, "bought", [image_file(tmp_path / "a.png", 0)])
    stored = next(store.folder.rglob("*.png"))
    stored.write_bytes(stored.read_bytes()[:100])

    with pytest.raises(ImageError):
        store.of_query(QUERY)


def test_the_store_lies_in_the_home_folder(lineup_home):
    assert open_stored().folder.is_relative_to(lineup_home)
