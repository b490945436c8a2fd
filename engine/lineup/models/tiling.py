"""Running a convolutional graph on overlapping tiles, and blending them into one array.

The result differs a little from a run on the whole: normalisation and attention see a tile only.
Tiles, overlap and blending are those of diffusers' `enable_vae_tiling`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lineup.types import Float32Array

OVERLAP = 0.25
"""Share of a tile that it has in common with its neighbour."""


def run_tiled(
    run: Callable[[Float32Array], Float32Array],
    array: Float32Array,
    *,
    tile: int,
    tile_out: int,
) -> Float32Array:
    """Run a graph tile by tile.

    Args:
        run: Maps (images, channels, rows, columns) to the same, scaled by a fixed ratio.
        array: Shape (images, channels, rows, columns), float32.
        tile: Side of a tile in `array`, a multiple of 4.
        tile_out: Side that a full tile has in the result.

    Returns:
        What `run` gives for the whole, up to what a tile cannot see.
    """
    stride = int(tile * (1 - OVERLAP))
    blend = int(tile_out * OVERLAP)
    keep = tile_out - blend
    above: list[Float32Array] = []
    strips: list[Float32Array] = []
    for top in range(0, array.shape[2], stride):
        row: list[Float32Array] = []
        for left in range(0, array.shape[3], stride):
            piece = np.array(run(array[:, :, top : top + tile, left : left + tile]))
            if above:
                _blend(above[len(row)], piece, blend, axis=2)
            if row:
                _blend(row[-1], piece, blend, axis=3)
            row.append(piece)
        strips.append(np.concatenate([piece[:, :, :keep, :keep] for piece in row], axis=3))
        above = row
    return np.concatenate(strips, axis=2)


def _blend(before: Float32Array, after: Float32Array, extent: int, *, axis: int) -> None:
    """Fade the end of one tile into the start of the next, in place in the latter."""
    extent = min(before.shape[axis], after.shape[axis], extent)
    share = (np.arange(extent) / extent).astype(np.float32)
    share = share.reshape([-1 if index == axis else 1 for index in range(4)])
    end = np.take(before, range(before.shape[axis] - extent, before.shape[axis]), axis=axis)
    start = after[:, :, :extent] if axis == 2 else after[:, :, :, :extent]
    start[...] = end * (1 - share) + start * share
