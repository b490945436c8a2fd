from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from lineup.errors import UsageError
from lineup.files import sha256_from_file
from lineup_lab.dataset import (
    fingerprints_from_paths,
    labelled_sources_from_folders,
    source_folders_from_dir,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two sources of four images, of reddish and of bluish colours."""
    for name, colour in {"red": (5, 5, 200), "blue": (200, 5, 5)}.items():
        (tmp_path / name).mkdir()
        for i in range(4):
            pixels = np.full((8, 8, 3), colour, np.uint8) + np.uint8(i)
            cv2.imwrite(str(tmp_path / name / f"{i}.png"), pixels)
    return tmp_path


def test_every_folder_is_a_source(root):
    (root / ".cache").mkdir()
    (root / "sources.csv").write_text("file,source\n")
    (root / "red" / "deeper").mkdir()
    shutil.move(root / "red" / "3.png", root / "red" / "deeper" / "3.png")

    folders = source_folders_from_dir(root)

    assert [(folder.name, len(folder.paths)) for folder in folders] == [("blue", 4), ("red", 4)]


def test_fingerprints_go_to_the_source_of_their_folder(root, extractor):
    blue, red = labelled_sources_from_folders(source_folders_from_dir(root), extractor, batch=3)

    assert (blue.name, red.name) == ("blue", "red")
    assert blue.fingerprints.shape == (4, 3)
    assert (blue.fingerprints[:, 2] > 0.9).all()
    assert (red.fingerprints[:, 0] > 0.9).all()
    assert red.paths == tuple(root / "red" / f"{i}.png" for i in range(4))
    assert red.ids == tuple(sha256_from_file(path) for path in red.paths)


def test_same_bytes_in_one_folder_count_once(root, extractor):
    shutil.copy(root / "red" / "0.png", root / "red" / "copy.png")

    _, red = labelled_sources_from_folders(source_folders_from_dir(root), extractor)

    assert len(red.ids) == len(set(red.ids)) == len(red.fingerprints) == 4
    assert red.duplicate_count == 1


def test_same_bytes_in_two_folders_count_in_neither(root, extractor):
    shutil.copy(root / "red" / "0.png", root / "blue" / "stray.png")

    blue, red = labelled_sources_from_folders(source_folders_from_dir(root), extractor)

    assert (len(blue.ids), blue.ambiguous_count) == (4, 1)
    assert (len(red.ids), red.ambiguous_count) == (3, 1)
    assert sha256_from_file(root / "red" / "0.png") not in blue.ids + red.ids


def test_unreadable_images_are_kept_as_failures(root, extractor):
    (root / "red" / "broken.png").write_bytes(b"")
    seen = []

    _, red = labelled_sources_from_folders(
        source_folders_from_dir(root), extractor, on_file=lambda file: seen.append(file.path.name)
    )

    assert [file.path.name for file in red.failures] == ["broken.png"]
    assert len(red.ids) == 4
    assert seen == ["0.png", "1.png", "2.png", "3.png"] * 2 + ["broken.png"]


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_an_answer_that_is_no_fingerprint_is_a_failure_of_that_file(root, extractor, value):
    compute = extractor.fingerprints_from_tiles

    def spoilt(tiles):
        rows = compute(tiles)
        rows[1] = value
        return rows

    extractor.fingerprints_from_tiles = spoilt
    paths = [root / "red" / f"{i}.png" for i in range(3)]
    images, rows = zip(*fingerprints_from_paths(paths, extractor), strict=True)

    assert [row is None for row in rows] == [False, True, False]
    assert images[1].error.message == "The model gave no usable fingerprint for this image."
    assert images[1].sha256 == sha256_from_file(paths[1])


def test_source_without_two_usable_images_is_named(root, extractor):
    for i in range(1, 4):
        (root / "red" / f"{i}.png").write_bytes(b"")

    with pytest.raises(
        UsageError, match=r"'red' has 1 usable image\(s\) out of 4 files \(3 unread"
    ):
        labelled_sources_from_folders(source_folders_from_dir(root), extractor)


def test_folder_without_two_images_is_refused_before_any_work(root):
    (root / "green").mkdir()

    with pytest.raises(UsageError, match=r"green holds 0 image file\(s\)"):
        source_folders_from_dir(root)


def test_single_source_is_refused_with_the_layout(root):
    shutil.rmtree(root / "red")

    with pytest.raises(UsageError, match=r"1 source folder\(s\) \(blue\)") as caught:
        source_folders_from_dir(root)

    assert "DIR/<source>/" in str(caught.value.hint)


def test_file_instead_of_a_folder_is_refused(root):
    with pytest.raises(UsageError, match="is not a folder"):
        source_folders_from_dir(root / "red" / "0.png")
