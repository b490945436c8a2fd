"""Coordinates, planes of pixels, and random fields with the spectrum of photographs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, cos, sin

import cv2
import numpy as np

from lineup.types import AnyArray, Float32Array


@dataclass(frozen=True, slots=True)
class Frame:
    """The picture's coordinates: u to the right and v down, both 0..1 over an untilted picture.

    `u` and `v` are float32 (size_px, size_px), `angle` is the tilt of the camera in radians.
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

    x to the right, y up, float32 (rows, columns); the thing stands on y = 0, about 1 tall.

    Attributes:
        unit_px: Pixels of one unit.
        angle: How far the thing is turned in the picture, radians, clockwise.
        mirrored: Whether x runs to the left.
        left: First column of the window in the picture; `top`, its first row.
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


def mixed(first: Float32Array, second: Float32Array, share: AnyArray) -> Float32Array:
    """Return first + share (second - first): planes or colours, share (rows, columns)."""
    blend = np.asarray(share * (second - first), np.float32)
    blend += first
    return blend


def blurred(planes: Float32Array, sigma_px: float) -> Float32Array:
    """Return planes after a Gaussian blur of this standard deviation."""
    return np.stack([cv2.GaussianBlur(plane, (0, 0), sigma_px) for plane in planes])


def colour_from_rgb(red: float, green: float, blue: float) -> Float32Array:
    """Return a colour, float32 (3, 1, 1)."""
    return np.array([red, green, blue], np.float32).reshape(3, 1, 1)


def coverage(edge_px: AnyArray) -> Float32Array:
    """Return how much of a pixel lies inside of an edge `edge_px` pixels away (inside positive)."""
    return np.asarray(np.clip(edge_px + 0.5, 0, 1), np.float32)


@lru_cache(maxsize=32)
def _amplitude(size_px: int, exponent: float) -> Float32Array:
    """Amplitude of every frequency, (size, size)."""
    cycles = np.fft.fftfreq(size_px, 1 / size_px)
    radius = np.hypot(cycles[:, None], cycles[None])
    amplitude = np.maximum(radius, 1.0) ** -exponent
    amplitude[0, 0] = 0
    amplitude *= size_px**2 / np.sqrt((amplitude**2).sum())
    return np.asarray(amplitude, np.float32)


def fractal_pair(
    rng: np.random.Generator, size_px: int, exponent: float = 1.0
) -> tuple[Float32Array, Float32Array]:
    """Return two independent fields, float32 (size, size), mean 0, standard deviation near 1.

    They tile: the right edge continues at the left one. The amplitude falls as
    1 / frequency^exponent (1 for photographs: Field 1987).
    """
    spectrum = rng.standard_normal((size_px, size_px, 2), dtype=np.float32)
    spectrum *= _amplitude(size_px, exponent)[..., None]
    fields = cv2.dft(spectrum, flags=cv2.DFT_INVERSE | cv2.DFT_SCALE)
    return np.ascontiguousarray(fields[..., 0]), np.ascontiguousarray(fields[..., 1])


def sampled(field: Float32Array, columns: Float32Array, rows: Float32Array) -> Float32Array:
    """Read a tiling field at any place; coordinates are float32, in tiles, of one shape."""
    size_px = field.shape[0]
    wrapped_columns = (columns - np.floor(columns)) * size_px
    wrapped_rows = (rows - np.floor(rows)) * size_px
    read = cv2.remap(
        field, wrapped_columns, wrapped_rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
    )
    return np.asarray(read, np.float32)


def ridge(rng: np.random.Generator, points: Float32Array) -> Float32Array:
    """Return a random height along a line, read at `points` (any shape, in 0..1); spread near 1."""
    waves = np.arange(1, 25)
    amplitude = waves.astype(float) ** -1.4
    amplitude *= np.sqrt(2 / (amplitude**2).sum())
    spectrum = np.zeros(513, np.complex128)
    spectrum[waves] = amplitude * np.exp(1j * rng.uniform(0, 2 * np.pi, len(waves))) * 512
    line = np.fft.irfft(spectrum)
    places = np.linspace(0, 2, 1024, endpoint=False)
    return np.interp(points, places, line).astype(np.float32)
