from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from lineup.errors import UsageError
from lineup.imaging.operations import operation_from_text
from lineup_lab.dataset import (
    labelled_sources_from_folders,
    source_folders_from_dir,
    splits_of_sources,
)
from lineup_lab.verification import attacked_queries

HALF = 0.5


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two sources whose images have a coloured centre inside a green frame."""
    for name, colour in {"red": (0, 0, 200), "blue": (200, 0, 0)}.items():
        (tmp_path / name).mkdir()
        for i in range(6):
            pixels = np.full((10, 10, 3), (0, 200, 0), np.uint8)
            pixels[2:8, 2:8] = np.array(colour, np.uint8) + np.uint8(i)
            cv2.imwrite(str(tmp_path / name / f"{i}.png"), pixels)
    return tmp_path


@pytest.fixture
def sources(root, extractor):
    return labelled_sources_from_folders(source_folders_from_dir(root), extractor)


def test_queries_are_attacked_in_the_order_of_the_split(sources, extractor):
    splits = splits_of_sources(sources, HALF, 0)
    seen = []

    attacked, failures = attacked_queries(
        sources, splits, operation_from_text("crop:0.6"), extractor, batch=2, on_file=seen.append
    )

    assert failures == []
    assert list(attacked) == ["blue", "red"]
    assert [file.path for file in seen] == [
        source.paths[row] for source in sources for row in splits[source.name].queries
    ]
    for source in sources:
        rows = attacked[source.name]
        centres = [int(source.paths[row].stem) for row in splits[source.name].queries]
        expected = np.array([[200 + i, i, i] for i in centres], float)
        expected = expected if source.name == "red" else expected[:, ::-1]
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        np.testing.assert_allclose(rows, expected, atol=1e-6)


def test_query_that_is_gone_is_a_failure_and_the_rest_counts(sources, extractor, root):
    splits = splits_of_sources(sources, HALF, 0)
    red = sources[1]
    lost = red.paths[splits["red"].queries[0]]
    lost.unlink()

    attacked, failures = attacked_queries(
        sources, splits, operation_from_text("jpeg:90"), extractor
    )

    assert [file.path for file in failures] == [lost]
    assert {name: len(rows) for name, rows in attacked.items()} == {
        "blue": 3,
        "red": 2,
    }


def test_source_without_a_usable_query_is_named(sources, extractor):
    splits = splits_of_sources(sources, HALF, 0)
    for row in splits["red"].queries:
        sources[1].paths[row].unlink()

    with pytest.raises(UsageError, match="No query of source 'red' is usable after the attack"):
        attacked_queries(sources, splits, operation_from_text("jpeg:90"), extractor)
