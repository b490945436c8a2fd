from pathlib import Path

import pytest

from lineup.errors import ResynthesisError, UsageError
from lineup.stored.captions import CAPTION_ROW, CaptionFile, PictureFolder, rows_from_file

ONE, OTHER = "ab" * 32, "cd" * 32
SIZE = {"width_px": 3, "height_px": 2}


def caption_file(tmp_path, seeds=(0, 1), captioner="blip@1"):
    return CaptionFile(tmp_path / "out" / "c.jsonl", captioner, seeds)


def test_rows_name_the_pictures_to_make(tmp_path):
    file = caption_file(tmp_path)
    row = file.add(ONE, Path("in/cat.v2.png"), "a cat", **SIZE)

    assert row.pictures == ("cat.v2-0", "cat.v2-1")
    assert list(rows_from_file(file.path)) == [row]
    assert caption_file(tmp_path / "single", seeds=(7,)).add(
        ONE, Path("cat.png"), "a cat", **SIZE
    ).pictures == ("cat",)


@pytest.mark.parametrize("path", ["in/cat.png", "b/cat.jpg", "b/c\\at.png", "b/c\x1bat.png"])
def test_a_name_that_is_taken_or_odd_is_the_hash(tmp_path, path):
    file = caption_file(tmp_path)
    file.add(ONE, Path("in/cat.png"), "a cat", **SIZE)

    assert file.add(OTHER, Path(path), "a cat", **SIZE).pictures == (
        "cdcdcdcdcdcd-0",
        "cdcdcdcdcdcd-1",
    )


def test_a_file_that_was_cut_off_is_gone_on_with(tmp_path):
    file = caption_file(tmp_path)
    file.add(ONE, Path("cat.png"), "a cat", **SIZE)
    file.add(OTHER, Path("dog.png"), "a dog", **SIZE)
    file.path.write_bytes(file.path.read_bytes()[:-9])

    again = caption_file(tmp_path)
    assert list(again.rows) == [ONE]
    again.add(OTHER, Path("dog.png"), "a dog", **SIZE)
    assert [row.caption for row in rows_from_file(file.path)] == ["a cat", "a dog"]


@pytest.mark.parametrize("changes", [{"seeds": (0,)}, {"captioner": "blip@2"}])
def test_a_file_of_another_question_is_refused(tmp_path, changes):
    caption_file(tmp_path).add(ONE, Path("cat.png"), "a cat", **SIZE)

    with pytest.raises(UsageError, match="not by"):
        caption_file(tmp_path, **changes)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"cat-0"', '"../cat-0"', r"line 1: pictures\[0\]: '../cat-0' does not lie below"),
        ('"cat-0"', '"/cat-0"', r"pictures\[0\]"),
        ('"cat-0"', '"cat-1"', "twice"),
        ('["cat-0", "cat-1"]', '["cat-0"]', "1 names for 2 seeds"),
        ('"a cat"', '""', "caption"),
        (ONE, "ab", "sha256"),
        ('"seeds"', '"seed"', "seeds: missing"),
        ("{", "[", "line 1: not JSON"),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path, old, new, reason):
    file = caption_file(tmp_path)
    file.add(ONE, Path("cat.png"), "a cat", **SIZE)
    file.path.write_text(file.path.read_text().replace(old, new, 1))

    with pytest.raises(ResynthesisError, match=reason):
        list(rows_from_file(file.path))


def test_a_picture_that_two_lines_name_is_refused(tmp_path):
    file = caption_file(tmp_path)
    file.add(ONE, Path("cat.png"), "a cat", **SIZE)
    file.path.write_text(file.path.read_text() + file.path.read_text().replace(ONE, OTHER))

    with pytest.raises(ResynthesisError, match=r"line 2: pictures: 'cat-0' is of line 1"):
        list(rows_from_file(file.path))


class TestPictureFolder:
    @pytest.fixture
    def row(self, tmp_path):
        return caption_file(tmp_path).add(ONE, Path("cat.png"), "a cat", **SIZE)

    @pytest.fixture
    def folder(self, tmp_path):
        folder = tmp_path / "api"
        folder.mkdir()
        return folder

    def test_pictures_are_found_by_name_whatever_their_suffix(self, row, folder):
        for name in ("cat-1.webp", "cat-0.JPG", "dog.png"):
            (folder / name).touch()
        pictures = PictureFolder(folder)

        assert [path.name for path in pictures.take(row)] == ["cat-0.JPG", "cat-1.webp"]
        assert [path.name for path in pictures.rest] == ["dog.png"]

    def test_below_the_folder_too(self, row, folder):
        (folder / "a").mkdir()
        (folder / "a" / "0.png").touch()
        raw = CAPTION_ROW.to_raw(row) | {"pictures": ["a/0"], "seeds": [0]}

        taken = PictureFolder(folder).take(CAPTION_ROW.from_raw(raw, where="here"))

        assert taken == (folder / "a" / "0.png",)

    def test_a_missing_picture_is_named(self, row, folder):
        (folder / "cat-0.png").touch()

        with pytest.raises(ResynthesisError, match=r"no picture cat-1 of cat\.png"):
            PictureFolder(folder).take(row)

    def test_two_files_for_one_picture_are_named(self, row, folder):
        for name in ("cat-0.png", "cat-0.jpg", "cat-1.png"):
            (folder / name).touch()

        with pytest.raises(ResynthesisError, match=r"cat-0\.jpg, cat-0\.png are both 'cat-0'"):
            PictureFolder(folder).take(row)

    def test_it_has_to_be_a_folder(self, tmp_path):
        with pytest.raises(UsageError, match="is not a folder"):
            PictureFolder(tmp_path / "absent")
