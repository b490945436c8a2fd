from __future__ import annotations

from pathlib import Path

import pytest

from lineup.errors import UsageError
from lineup.files import sha256_from_bytes
from lineup_models.photographs import split_photographs


def folder_of(path: Path, count: int) -> Path:
    path.mkdir()
    for index in range(count):
        (path / f"p{index:02d}.jpg").touch()
    return path


def test_the_lowest_hashes_are_held_out_wherever_the_folder_is(tmp_path: Path) -> None:
    first = split_photographs([folder_of(tmp_path / "a", 20)], 5)
    second = split_photographs([folder_of(tmp_path / "b", 20)], 5)

    lowest = sorted(
        (f"p{i:02d}.jpg" for i in range(20)), key=lambda n: sha256_from_bytes(n.encode())
    )
    assert {path.name for path in first.held_out} == set(lowest[:5])
    assert [path.name for path in first.held_out] == [path.name for path in second.held_out]
    assert not set(first.fit) & set(first.held_out)
    assert len(first.fit) == 15


def test_more_photographs_do_not_move_the_others_between_the_parts(tmp_path: Path) -> None:
    few = split_photographs([folder_of(tmp_path / "a", 20)], 5)
    more = split_photographs([folder_of(tmp_path / "b", 30)], 5)

    fitted_before = {path.name for path in few.fit}
    assert not fitted_before & {path.name for path in more.held_out if path.name < "p20"}


def test_too_few_photographs_are_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="3 are held out"):
        split_photographs([folder_of(tmp_path / "a", 4)], 3)


def test_folders_are_parted_as_one(tmp_path: Path) -> None:
    folders = [folder_of(tmp_path / "a", 20), folder_of(tmp_path / "b", 10)]
    split = split_photographs(folders, 6)

    # Equal names go together.
    assert {path.name for path in split.held_out if path.parent == folders[0]} >= {
        path.name for path in split.held_out if path.parent == folders[1]
    }
    assert len(split.fit) == 24
