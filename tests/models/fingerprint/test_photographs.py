from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lineup.errors import UsageError
from lineup.files import sha256_from_bytes
from lineup_models.photographs import split_photographs, versions_of_photograph


def folder_of(path: Path, count: int) -> Path:
    path.mkdir()
    for index in range(count):
        (path / f"p{index:02d}.jpg").touch()
    return path


def test_the_lowest_hashes_are_held_out_wherever_the_folder_is(tmp_path: Path) -> None:
    first = split_photographs(folder_of(tmp_path / "a", 20), 5)
    second = split_photographs(folder_of(tmp_path / "b", 20), 5)

    lowest = sorted(
        (f"p{i:02d}.jpg" for i in range(20)), key=lambda n: sha256_from_bytes(n.encode())
    )
    assert {path.name for path in first.held_out} == set(lowest[:5])
    assert [path.name for path in first.held_out] == [path.name for path in second.held_out]
    assert not set(first.fit) & set(first.held_out)
    assert len(first.fit) == 15


def test_more_photographs_do_not_move_the_others_between_the_parts(tmp_path: Path) -> None:
    few = split_photographs(folder_of(tmp_path / "a", 20), 5)
    more = split_photographs(folder_of(tmp_path / "b", 30), 5)

    fitted_before = {path.name for path in few.fit}
    assert not fitted_before & {path.name for path in more.held_out if path.name < "p20"}


def test_too_few_photographs_are_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds 4 photographs and 3 are held out"):
        split_photographs(folder_of(tmp_path / "a", 4), 3)


def test_copies_depend_on_name_and_seed_only() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)

    def copies(name: str, seed: int) -> list[np.ndarray]:
        given = versions_of_photograph(pixels, name, jpeg_copies=3, seed=seed)
        return list(given)

    original, *compressed = copies("a.jpg", 0)

    np.testing.assert_array_equal(original, pixels)
    assert len(compressed) == 3
    assert all((copy != pixels).any() for copy in compressed)
    np.testing.assert_array_equal(compressed, copies("a.jpg", 0)[1:])
    assert (np.stack(compressed) != np.stack(copies("b.jpg", 0)[1:])).any()
    assert (np.stack(compressed) != np.stack(copies("a.jpg", 1)[1:])).any()
