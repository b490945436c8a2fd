from __future__ import annotations

import numpy as np
import pytest

from lineup.errors import GalleryError
from lineup.gallery.support import SourceRole
from lineup.gallery.tensors import (
    SourceRecord,
    fingerprints_from_half,
    half_from_fingerprints,
    id_rows_from_ids,
    ids_from_id_rows,
    support_from_tensors,
    tensors_from_support,
)


def unit_rows(count: int, dimension: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, dimension))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(("dimension", "limit"), [(3, 1e-3), (48, 1e-3), (4608, 3e-5)])
def test_half_precision_hardly_moves_a_cosine(dimension, limit):
    rows = unit_rows(200, dimension)
    stored = fingerprints_from_half(half_from_fingerprints(rows))
    exact = rows.astype(np.float64) @ rows.T.astype(np.float64)
    kept = stored.astype(np.float64) @ stored.T.astype(np.float64)
    assert np.abs(kept - exact).max() < limit
    assert np.abs(np.linalg.norm(stored.astype(np.float64), axis=1) - 1).max() < 1e-6


@pytest.mark.parametrize("dimension", [1, 2, 3, 5, 48, 4608])
def test_storing_again_changes_nothing(dimension):
    half = half_from_fingerprints(unit_rows(500 if dimension < 100 else 20, dimension))
    assert half.dtype == np.dtype("<f2")
    assert np.array_equal(half_from_fingerprints(fingerprints_from_half(half)), half)


def test_ids_survive_as_bytes(make_support):
    ids = make_support(count=3).ids
    rows = id_rows_from_ids(ids)
    assert rows.shape == (3, 32)
    assert rows.dtype == np.uint8
    assert ids_from_id_rows(rows) == ids


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fingerprints": None}, "lacks the tensor 'fingerprints'"),
        ({"ids": None}, "lacks the tensor 'ids'"),
        ({"fingerprints": np.zeros((5, 8), np.float32)}, "must be float16"),
        ({"fingerprints": np.zeros(5, np.float16)}, "must be float16 of the shape"),
        ({"fingerprints": np.zeros((0, 8), np.float16)}, "must be float16 of the shape"),
        ({"fingerprints": np.zeros((5, 8), np.float16)}, "finite with norm 1"),
        ({"fingerprints": np.full((5, 8), np.nan, np.float16)}, "finite with norm 1"),
        ({"fingerprints": np.full((5, 8), np.inf, np.float16)}, "finite with norm 1"),
        ({"ids": np.zeros((4, 32), np.uint8)}, r"shape \(5, 32\)"),
        ({"ids": np.zeros((5, 31), np.uint8)}, r"shape \(5, 32\)"),
        ({"ids": np.zeros((5, 32), np.int8)}, "must be uint8"),
        ({"ids": np.zeros((5, 32), np.uint8)}, "only 1 different"),
        ({"fingerprints": np.eye(5, 9, dtype=np.float16)}, "dimension 9, the manifest says 5 of 8"),
    ],
)
def test_malformed_tensors_are_refused_by_name(make_support, change, message):
    tensors = {**tensors_from_support(make_support(dimension=8)), **change}
    tensors = {key: tensor for key, tensor in tensors.items() if tensor is not None}
    record = SourceRecord(SourceRole.CANDIDATE, 5, "0" * 64)
    with pytest.raises(GalleryError, match=message) as caught:
        support_from_tensors(tensors, "dalle3", record, dimension=8, owner="FILE")
    assert "dalle3" in str(caught.value)
