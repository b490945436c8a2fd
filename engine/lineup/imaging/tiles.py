"""Cut an image into square tiles, without ever resampling it.

Resampling would rewrite the high frequencies in which a fingerprint lies.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lineup.types import RgbImage, RgbTiles


@dataclass(frozen=True, slots=True)
class TileSpec:
    """How an image is cut.

    Attributes:
        size_px: Side of a tile.
        max_tiles: Most tiles taken from one image; they are spread evenly over it.
    """

    size_px: int
    max_tiles: int

    def __post_init__(self) -> None:
        if self.size_px < 1 or self.max_tiles < 1:
            raise ValueError(
                f"a tile of {self.size_px} px, at most {self.max_tiles} of them: "
                "expected at least 1 of each"
            )


def tile_origins(height_px: int, width_px: int, spec: TileSpec) -> tuple[tuple[int, int], ...]:
    """Lay the tiles of an image out.

    Each axis takes as many tiles as it is tiles long, rounded, from edge to edge: a side of 300 px
    has one tile of 256 px in its middle, one of 400 px has two that overlap. Tiles that share most
    of their pixels would cost without telling more. When the grid has more than `spec.max_tiles`,
    its longer axis is thinned until it has not, so that they stay spread over the image.

    Args:
        height_px: Height of the image, at least `spec.size_px`.
        width_px: Width of the image, at least `spec.size_px`.
        spec: Size and number of tiles.

    Returns:
        Row and column of the upper left corner of each tile, in row order.
    """
    rows, columns = round(height_px / spec.size_px), round(width_px / spec.size_px)
    while rows * columns > spec.max_tiles:
        if rows >= columns:
            rows -= 1
        else:
            columns -= 1
    return tuple(
        (row, column)
        for row in _starts(height_px - spec.size_px, rows)
        for column in _starts(width_px - spec.size_px, columns)
    )


def _starts(slack_px: int, count: int) -> tuple[int, ...]:
    """Spread tiles over an axis with `slack_px` to spare; a single one goes to its middle."""
    if count == 1:
        return (slack_px // 2,)
    return tuple(round(index * slack_px / (count - 1)) for index in range(count))


def tiles_from_image(pixels: RgbImage, spec: TileSpec) -> RgbTiles:
    """Cut an image into tiles.

    Args:
        pixels: Shape (height, width, 3), uint8 RGB. Sides below `spec.size_px` are continued by
            reflection up to it, with the image in the middle.
        spec: Size and number of tiles.

    Returns:
        Shape (tiles, size_px, size_px, 3), uint8 RGB, at least one tile.
    """
    padded = _reflected(pixels, spec.size_px)
    origins = tile_origins(padded.shape[0], padded.shape[1], spec)
    size = spec.size_px
    return np.stack([padded[row : row + size, col : col + size] for row, col in origins])


def _reflected(pixels: RgbImage, size_px: int) -> RgbImage:
    """Continue an image to at least `size_px` a side, by reflection about its outermost pixels.

    `BORDER_REFLECT_101` repeats as often as needed, and does not double the edge.
    """
    missing_rows = max(0, size_px - pixels.shape[0])
    missing_columns = max(0, size_px - pixels.shape[1])
    if not missing_rows and not missing_columns:
        return pixels
    top, left = missing_rows // 2, missing_columns // 2
    bottom, right = missing_rows - top, missing_columns - left
    border = cv2.copyMakeBorder(pixels, top, bottom, left, right, cv2.BORDER_REFLECT_101)
    return border.astype(np.uint8, copy=False)
