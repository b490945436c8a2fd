from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from lineup_models.fingerprint.dft import SpectrumPool, area_matrix, row_frequencies


@pytest.mark.parametrize(("size", "cells"), [(256, 96), (129, 48), (10, 10), (7, 1), (9, 2)])
def test_every_cell_is_an_average(size: int, cells: int) -> None:
    matrix = area_matrix(size, cells).numpy()

    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(matrix.sum(axis=0), cells / size, rtol=1e-12)


def test_a_sample_on_a_border_is_shared() -> None:
    np.testing.assert_allclose(area_matrix(3, 2).numpy(), [[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]])


@pytest.mark.parametrize(("height", "width"), [(96, 48), (64, 43)])
def test_it_pools_as_opencv_shrinks(height: int, width: int) -> None:
    size = 256
    ordered = np.random.default_rng(1).uniform(0, 5, (size, size // 2 + 1)).astype(np.float32)
    rows = [0 if k is None else k + size // 2 for k in row_frequencies(size)]
    as_given = torch.from_numpy(ordered[rows])[None]

    pooled = SpectrumPool(size, height, width)(as_given)[0].numpy()

    expected = cv2.resize(ordered, (width, height), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(pooled, expected, rtol=1e-5)


def test_repeated_rows_do_not_count() -> None:
    size = 16
    spectrum = torch.zeros(1, size + 2, size // 2 + 1)
    for row, frequency in enumerate(row_frequencies(size)):
        if frequency is None:
            spectrum[:, row] = 1e6

    assert SpectrumPool(size, 6, 4)(spectrum).abs().max() == 0
