"""Coordinates: a frame that may be tilted, and the grids that shapes are drawn on."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, cos, sin

import numpy as np

from lineup.types import Float32Array


@dataclass(frozen=True, slots=True)
class Frame:
    """The picture's coordinates: u to the right and v down, both 0..1 over an untilted picture.

    Attributes:
        size_px: Side of the picture.
        angle: Tilt of the camera in radians.
        u: float32 (size, size).
        v: float32 (size, size).
    """

    size_px: int
    angle: float
    u: Float32Array
    v: Float32Array

    def pixel_from_place(self, u: float, v: float) -> tuple[float, float]:
        """Return the column and row, in pixels, of a place; pixel centres lie at .5."""
        x, y = u - 0.5, v - 0.5
        column = cos(self.angle) * x - sin(self.angle) * y + 0.5
        row = sin(self.angle) * x + cos(self.angle) * y + 0.5
        return column * self.size_px, row * self.size_px


def frame_from_size(size_px: int, angle: float = 0.0) -> Frame:
    """Return the frame of a picture that is turned by `angle` radians."""
    ticks = ((np.arange(size_px) + 0.5) / size_px - 0.5).astype(np.float32)
    x, y = ticks[None], ticks[:, None]
    cosine, sine = cos(angle), sin(angle)
    u = np.asarray(cosine * x + sine * y + 0.5, np.float32)
    v = np.asarray(cosine * y - sine * x + 0.5, np.float32)
    return Frame(size_px, angle, u, v)


@dataclass(frozen=True, slots=True)
class Grid:
    """A window of the picture in the coordinates of one thing.

    x to the right, y up; the thing stands on y = 0 and is about 1 tall.

    Attributes:
        x: float32 (rows, columns).
        y: float32 (rows, columns).
        unit_px: Pixels of one unit.
        angle: How far the thing is turned in the picture, radians, clockwise.
        mirrored: Whether x runs to the left.
        left: First column of the window in the picture.
        top: First row of the window in the picture.
    """

    x: Float32Array
    y: Float32Array
    unit_px: float
    angle: float
    mirrored: bool
    left: int
    top: int


HALF_WIDTH, BELOW, HEIGHT = 0.72, 0.3, 1.12
"""Extent of the window in units: to each side, below the base, above the base."""


def grid_at(frame: Frame, base: tuple[float, float], unit: float, angle: float, flip: bool) -> Grid:
    """Return the window of a thing with base (u, v) and size `unit`, in parts of the picture.

    The window may reach over the picture's edges.
    """
    total = frame.angle + angle
    column, row = frame.pixel_from_place(*base)
    unit_px = unit * frame.size_px
    corners = [
        (cos(total) * x - sin(total) * y, sin(total) * x + cos(total) * y)
        for x in (-HALF_WIDTH * unit_px, HALF_WIDTH * unit_px)
        for y in (-HEIGHT * unit_px, BELOW * unit_px)
    ]
    left = int(column + min(x for x, _ in corners)) - 1
    top = int(row + min(y for _, y in corners)) - 1
    right = ceil(column + max(x for x, _ in corners)) + 1
    bottom = ceil(row + max(y for _, y in corners)) + 1
    dx = (np.arange(left, right, dtype=np.float32) + (0.5 - column))[None]
    dy = (np.arange(top, bottom, dtype=np.float32) + (0.5 - row))[:, None]
    cosine, sine = (cos(total) / unit_px), (sin(total) / unit_px)
    x = cosine * dx + sine * dy
    y = sine * dx - cosine * dy
    return Grid(-x if flip else x, y, unit_px, total, flip, left, top)
