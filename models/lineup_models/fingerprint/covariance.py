"""Principal axes of a stream of vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lineup.types import AnyArray, Float32Array, Float64Array

RELATIVE_PRECISION = 1e-12
"""Smaller variances than this, in units of the largest, are rounding errors."""


@dataclass(frozen=True, slots=True)
class FoundAxes:
    """Mean and principal axes of vectors.

    Attributes:
        mean: float64 (dimension,).
        axes: float32 (axes, dimension), orthonormal rows, of each part largest variance first.
        variances: float64 (axes,), variance along each axis.
        floor: The floor that was asked for, in units of the variances.
    """

    mean: Float64Array
    axes: Float32Array
    variances: Float64Array
    floor: float

    def damped_axes(self) -> Float64Array:
        """Return the axes times the roots of their gains, 1 - sqrt(f / (e + f)).

        e are the variances and f is the floor; see `graph.Fingerprint`.
        """
        gains = 1.0 - np.sqrt(self.floor / (self.variances + self.floor))
        return np.asarray(self.axes.astype(np.float64) * np.sqrt(gains)[:, None])


def side_by_side(parts: Sequence[FoundAxes]) -> FoundAxes:
    """Return mean and axes of vectors of several parts that are taken not to vary together.

    The floor is that of the first part.
    """
    blocks = (torch.from_numpy(part.axes) for part in parts)
    return FoundAxes(
        mean=np.concatenate([part.mean for part in parts]),
        axes=torch.block_diag(*blocks).numpy(),  # type: ignore[no-untyped-call]
        variances=np.concatenate([part.variances for part in parts]),
        floor=parts[0].floor,
    )


class PrincipalAxes:
    """Gathers vectors in float64 and finds the axes along which they vary.

    Memory is bounded by two square matrices of the dimension, whatever the number of vectors: up
    to `dimension` vectors are kept, and the matrix of their products is decomposed, which is the
    smaller one; more are summed up into their covariance.
    """

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self.count = 0
        self._origin = np.zeros(dimension)
        self._rows: list[Float64Array] = []
        self._sum = np.zeros(dimension)
        self._outer: Float64Array | None = None

    def add(self, vector: AnyArray) -> None:
        """Take in one vector, shape (dimension,)."""
        exact = vector.astype(np.float64)
        if self.count == 0:
            # Relative to it, the covariance is no small difference of large numbers.
            self._origin = exact
        if len(self._rows) == self.dimension:
            self._fold()
        self._rows.append(exact - self._origin)
        self.count += 1

    def found(self, *, axes: int, floor: float) -> FoundAxes:
        """Return mean, axes and floor.

        Only variances that differ from zero count for the median: at most count - 1 do.

        Args:
            axes: How many axes to keep, largest variance first; 0 keeps all with a variance.
            floor: The floor in multiples of the median variance.
        """
        offset, variances, rows = self._from_rows() if self._outer is None else self._from_sums()
        existing = int((variances > 0).sum())
        kept = min(axes or existing, existing)
        return FoundAxes(
            mean=self._origin + offset,
            axes=_with_signs(rows[:kept]),
            variances=variances[:kept].copy(),
            floor=float(floor * np.median(variances[variances > 0])),
        )

    def _from_rows(self) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Return mean, variances (descending) and axes from the products of the rows."""
        rows = np.stack(self._rows)
        mean = rows.mean(axis=0)
        centred = (rows - mean) / np.sqrt(self.count)
        variances, columns = _descending(_product(centred, centred.T))
        # The axis of a variance v is the centred rows' u / sqrt(v), u its eigenvector.
        spread = np.sqrt(variances)
        inverse = np.divide(1.0, spread, out=np.zeros_like(spread), where=variances > 0)
        return mean, variances, _product((columns * inverse).T, centred)

    def _from_sums(self) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Return mean, variances (descending) and axes from the covariance."""
        self._fold()
        assert self._outer is not None
        mean = self._sum / self.count
        variances, columns = _descending(self._outer / self.count - np.outer(mean, mean))
        return mean, variances, columns.T

    def _fold(self) -> None:
        """Sum the kept vectors up and let go of them."""
        if not self._rows:
            return
        rows = np.stack(self._rows)
        self._sum += rows.sum(axis=0)
        product = _product(rows.T, rows)
        self._outer = product if self._outer is None else self._outer + product
        self._rows.clear()


def _with_signs(rows: Float64Array) -> Float32Array:
    """Make the largest component positive: a principal axis has no sign of its own."""
    peak = np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1)
    return np.ascontiguousarray(rows * np.sign(peak), dtype=np.float32)


def _descending(symmetric: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return eigenvalues, largest first, and eigenvectors as columns; rounding errors become 0."""
    ascending, columns = torch.linalg.eigh(torch.from_numpy(symmetric))
    values: Float64Array = ascending.numpy()[::-1].copy()
    values[values < RELATIVE_PRECISION * values[0]] = 0.0
    return values, columns.numpy()[:, ::-1]


def _product(left: Float64Array, right: Float64Array) -> Float64Array:
    """Return the matrix product; through torch, so that its thread setting holds for all of it."""
    found: Float64Array = torch.matmul(
        torch.from_numpy(np.ascontiguousarray(left)), torch.from_numpy(np.ascontiguousarray(right))
    ).numpy()
    return found
