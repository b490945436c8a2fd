from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

import pytest

from lineup import finding as find
from lineup.errors import UnreadableImageError, UsageError
from lineup.finding import check_output, find_images
from lineup.imaging.decode import bytes_from_path


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name in (
        "b.jpg", "a.PNG", "notes.txt", ".hidden.png", "c/d.webp", "c/e.md", "x.png/y.jpeg",
        ".git/z.png", "c.jpg", "photo[1].png", "photo1.png",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(*paths):
    return [path.as_posix() for path in find_images(paths)]


def test_a_folder_is_searched_in_order(tree):
    expected = ["a.PNG", "b.jpg", "c/d.webp", "c.jpg", "photo1.png", "photo[1].png", "x.png/y.jpeg"]
    assert found(".") == expected
    assert found(tree) == [f"{tree.as_posix()}/{name}" for name in expected]


def test_named_files_are_kept_whatever_their_name(tree):
    assert found("notes.txt", ".hidden.png", "b.jpg") == ["notes.txt", ".hidden.png", "b.jpg"]


def test_named_paths_keep_their_order_and_repeat(tree):
    assert found("c.jpg", "c", "c.jpg") == ["c.jpg", "c/d.webp", "c.jpg"]


def test_what_does_not_exist_is_yielded(tree):
    assert found("gone.png", "*.gone", "a\0b") == ["gone.png", "*.gone", "a\0b"]


def test_an_empty_name_is_no_folder(tree):
    with pytest.raises(UsageError, match="empty text"):
        found("a.PNG", "")


def test_patterns(tree):
    assert found("*.jpg") == ["b.jpg", "c.jpg"]
    assert found("**/*.webp") == ["c/d.webp"]
    assert found("x*") == ["x.png/y.jpeg"]


def test_a_literal_name_wins_over_its_meaning_as_a_pattern(tree):
    assert found("photo[1].png") == ["photo[1].png"]
    (tree / "photo[1].png").unlink()
    assert found("photo[1].png") == ["photo[1].png"]
    assert found("photo[12]*.png", "[bc].j?g") == ["photo1.png", "b.jpg", "c.jpg"]


def test_a_path_is_no_pattern(tree):
    assert found(Path("*.jpg"), Path("photo?.png")) == ["*.jpg", "photo?.png"]


def test_folders_that_exist_are_taken_by_their_name(tree):
    for name in ("d[1]", "d1", "e*"):
        (tree / name).mkdir()
        (tree / name / "x.png").touch()

    assert found("d[1]/*.png") == ["d[1]/x.png"]
    assert found("e*/*.png") == ["e*/x.png"]
    assert found("./d[1]/../d?/*.png") == ["d[1]/../d1/x.png"]
    assert found(f"{tree}/d[1]/?.png") == [f"{tree}/d[1]/x.png"]


def test_links_are_followed_and_loops_end(tree):
    (tree / "c" / "loop").symlink_to(tree)
    (tree / "c" / "broken.png").symlink_to(tree / "gone")
    (tree / "z.png").symlink_to(tree / "b.jpg")
    assert found("c")[:2] == ["c/broken.png", "c/d.webp"]
    assert len(found("c")) == len(found(".")) == 9


def test_the_search_is_lazy(tree):
    endless = itertools.cycle(["c.jpg"])
    assert list(itertools.islice(find_images(endless), 3)) == [Path("c.jpg")] * 3


def test_a_folder_that_may_not_be_listed_is_yielded(tree, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("c"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(find.os, "scandir", refuse)
    assert "c" in found(".")
    assert "b.jpg" in found(".")


def test_deep_nesting(tmp_path):
    folder = tmp_path
    for _ in range(200):
        folder = folder / "d"
    folder.mkdir(parents=True)
    (folder / "deep.png").touch()
    assert [path.name for path in find_images([tmp_path])] == ["deep.png"]


@pytest.mark.parametrize("inputs", [["b.jpg"], ["."], ["*.jpg"], ["gone", Path("./c/../b.jpg")]])
def test_no_output_is_an_input(tree, inputs):
    (tree / "soft.txt").symlink_to("b.jpg")
    os.link("b.jpg", "hard.txt")

    for name in ("b.jpg", tree / "b.jpg", "soft.txt", "hard.txt"):
        with pytest.raises(UsageError, match="is an input as well"):
            check_output(Path(name), inputs)
    for name in (None, Path("new.png"), Path("notes.txt")):
        check_output(name, inputs)


@pytest.mark.skipif(sys.platform != "linux", reason="how long a path may be differs")
def test_folders_beyond_the_longest_path_are_told(tree, monkeypatch):
    for _ in range(20):  # each is within the limit where it is made
        Path("d" * 250).mkdir()
        os.chdir("d" * 250)
    Path("deep.png").touch()
    monkeypatch.chdir(tree)

    (deep,) = [name for name in found(tree) if "dd" in name]

    assert len(deep) > 4095
    with pytest.raises(UnreadableImageError, match="too long"):
        bytes_from_path(Path(deep))
