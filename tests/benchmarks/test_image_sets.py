from __future__ import annotations

import hashlib
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from lineup.errors import UsageError


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    shared = tmp_path / "shared"
    for folder, count in {
        "generated/one": 3,
        "generated/two": 2,
        "photos": 5,
        "photos_native/web": 3,
    }.items():
        (shared / folder).mkdir(parents=True)
        for i in range(count):
            name = f"{len(folder)}-{i}.png"
            cv2.imwrite(str(shared / folder / name), np.full((4, 4, 3), i, np.uint8))
    (shared / "generated" / "sources.csv").write_text("file,source\n")
    return shared


def test_photographs_are_those_with_the_lowest_hash_of_their_name(shared, tmp_path):
    from image_sets import lay_out

    counts = lay_out(shared, tmp_path / "set", held_out=3)

    paths = [*(shared / "photos").iterdir(), *(shared / "photos_native" / "web").iterdir()]
    paths.sort(key=lambda path: hashlib.sha256(path.name.encode()).digest())
    photographs = tmp_path / "set" / "photographs"
    placed = {path.relative_to(photographs) for path in photographs.rglob("*.png")}
    assert placed == {path.relative_to(shared) for path in paths[:3]}
    assert counts == {"one": 3, "two": 2, "photographs": 3}
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == [
        "one", "photographs", "two",
    ]  # fmt: skip


def test_photographs_of_the_wild_are_those_that_the_head_was_not_fitted_on(shared, tmp_path):
    from image_sets import lay_out_wild
    from lineup_models.photograph_head import HELD_OUT, fitted_paths

    counts = lay_out_wild(shared, tmp_path / "set")

    fitted = fitted_paths(shared / "photos_native" / "web", HELD_OUT)
    apart = {path.name for path in (tmp_path / "set" / "photos" / "web").iterdir()}
    assert counts == {"one": 3, "two": 2, "photos": 1}
    assert len(fitted) == 2
    assert not apart & {path.name for path in fitted}


def test_files_are_links_where_that_is_possible_else_copies(shared, tmp_path, monkeypatch):
    from image_sets import lay_out

    original = shared / "generated" / "one" / "13-0.png"
    lay_out(shared, tmp_path / "linked", held_out=1)
    assert (tmp_path / "linked" / "one" / "13-0.png").samefile(original)

    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    lay_out(shared, tmp_path / "copied", held_out=1)
    copy = tmp_path / "copied" / "one" / "13-0.png"
    assert not copy.samefile(original)
    assert copy.read_bytes() == original.read_bytes()


def test_existing_output_is_left_alone(shared, tmp_path):
    from image_sets import lay_out

    (tmp_path / "set").mkdir()

    with pytest.raises(UsageError, match="exists already"):
        lay_out(shared, tmp_path / "set", held_out=1)


def test_missing_folder_is_named(tmp_path):
    from image_sets import lay_out

    with pytest.raises(UsageError, match="generated is not a folder"):
        lay_out(tmp_path, tmp_path / "set")


@pytest.fixture
def prompts(shared):
    """What two makers drew of three prompts."""
    drawn = {
        "one": ["red-cat-1", "red-cat-1", "red-dog-2", "blue-sky-3"],
        "two": ["red-cat-1", "red-dog-2", "red-dog-2"],
    }
    lines = ["file,source"]
    for maker, names in drawn.items():
        for number, name in enumerate(names):
            cv2.imwrite(
                str(shared / "generated" / maker / f"{maker}{number}.png"),
                np.full((4, 4, 3), len(lines), np.uint8),
            )
            lines.append(f"{maker}/{maker}{number}.png,repo:renders/{name}/x.png")
    (shared / "generated" / "sources.csv").write_text("\n".join(lines) + "\n")
    return shared


def names(folder):
    return [(path.name, cv2.imread(str(path))[0, 0, 0].item()) for path in sorted(folder.iterdir())]


def test_pictures_of_the_same_prompt_stand_for_resyntheses(prompts, tmp_path):
    from image_sets import References, lay_out_prompts

    output = tmp_path / "set"
    counts = lay_out_prompts(prompts, output, ["one", "two"], References.SAME_PROMPT, 10)

    assert counts == {"one": 2, "two": 2}
    assert names(output / "one" / "images" / "one") == [("one0-0.png", 2), ("one1-0.png", 1)]
    assert names(output / "two" / "images" / "one") == [("two1-0.png", 3), ("two2-0.png", 3)]


def test_aligned_references_are_of_the_nearest_prompts(prompts, tmp_path):
    from image_sets import References, lay_out_prompts

    orders = {}
    for kind in (References.ALIGNED, References.ARBITRARY):
        output = tmp_path / kind.value
        lay_out_prompts(prompts, output, ["one", "two"], kind, 3)
        found = names(output / "one" / "images" / "one")
        orders[kind] = [shade for name, shade in found if name.startswith("one0")]

    assert orders[References.ALIGNED] == [2, 3, 4]
    assert sorted(orders[References.ARBITRARY]) == [2, 3, 4]
