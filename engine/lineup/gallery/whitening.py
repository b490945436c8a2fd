"""What photographs differ in most is what they show: embeddings without most of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lineup.types import Float32Array, Float64Array

WHITENED_AXES = 16
"""Principal axes of photographs' embeddings that are whitened."""

FLOOR = 3.0
"""Variance that is left alone, in medians of the variances of all axes."""


@dataclass(frozen=True, slots=True, eq=False)
class Whitening:
    """Takes from embeddings what photographs differ in.

    Attributes:
        mean: Shape (E,).
        axes: Orthonormal, (K, E).
        gains: What is taken of each axis, (K,), 0..1.
    """

    mean: Float32Array
    axes: Float32Array
    gains: Float32Array

    def __call__(self, embeddings: Float32Array) -> Float32Array:
        """Return whitened embeddings, (n, E), rows of length 1."""
        rows = embeddings - self.mean
        rows -= products(products(rows, self.axes) * self.gains, self.axes.T)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def whitening_from_photographs(embeddings: Float32Array) -> Whitening:
    """Fit a whitening.

    Args:
        embeddings: Shape (n, E); with so few that they do not show axes, all stays as it is.
    """
    count, dimension = embeddings.shape
    if count < 2 * WHITENED_AXES:
        nothing = np.zeros((0, dimension), np.float32)
        return Whitening(np.zeros(dimension, np.float32), nothing, np.zeros(0, np.float32))
    mean = embeddings.mean(axis=0)
    variances, axes = _principal_axes((embeddings - mean).astype(np.float64))
    floor = FLOOR * np.median(variances)
    gains = 1 - np.sqrt(floor / (variances[:WHITENED_AXES] + floor))
    return Whitening(mean, axes.astype(np.float32), gains.astype(np.float32))


def _principal_axes(rows: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return all variances of centred rows (n, E), falling, and the first axes: (r,), (K, E).

    The axes are orthonormal, K is `WHITENED_AXES`. By the smaller of the two products, which takes
    a quarter of the time of all singular vectors.
    """
    count, dimension = rows.shape
    is_wide = count < dimension
    moments = rows @ rows.T if is_wide else rows.T @ rows
    variances, vectors = np.linalg.eigh(moments / count)
    axes = vectors[:, : -WHITENED_AXES - 1 : -1].T
    if is_wide:
        axes = axes @ rows
        axes /= np.maximum(np.linalg.norm(axes, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return variances[::-1], axes


def products(rows: Float32Array, columns: Float32Array) -> Float32Array:
    """Return the products of all pairs of rows, (n, m).

    Of a single row without BLAS: its threads would wait for each other on cores that decode the
    next images.
    """
    if len(rows) == 1:
        return np.asarray(np.einsum("nd,md->nm", rows, columns))
    return np.asarray(rows @ columns.T)
