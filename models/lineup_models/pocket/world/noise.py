"""Random fields whose spectrum falls with frequency as that of photographs does."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from lineup.types import Float32Array


@lru_cache(maxsize=32)
def _amplitude(size_px: int, exponent: float, lowest: float) -> Float32Array:
    """Amplitude of every frequency, (size, size): zero below `lowest` cycles per picture."""
    cycles = np.fft.fftfreq(size_px, 1 / size_px)
    radius = np.hypot(cycles[:, None], cycles[None])
    amplitude = np.where(radius >= lowest, np.maximum(radius, 1.0) ** -exponent, 0.0)
    amplitude[0, 0] = 0
    amplitude *= size_px**2 / np.sqrt((amplitude**2).sum())
    return amplitude.astype(np.float32)


def fractal_pair(
    rng: np.random.Generator, size_px: int, exponent: float = 1.0, lowest: float = 1.0
) -> tuple[Float32Array, Float32Array]:
    """Return two independent fields, float32 (size, size), mean 0, standard deviation near 1.

    They tile: the right edge continues at the left one. The amplitude falls as
    1 / frequency^exponent (1 for photographs: Field 1987) above `lowest` cycles per picture.
    """
    spectrum = rng.standard_normal((size_px, size_px, 2), dtype=np.float32)
    spectrum *= _amplitude(size_px, exponent, lowest)[..., None]
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


def ridge(rng: np.random.Generator, points: Float32Array, exponent: float = 1.4) -> Float32Array:
    """Return a random height along a line, read at `points` (any shape, in 0..1); spread near 1."""
    waves = np.arange(1, 25)
    amplitude = waves.astype(float) ** -exponent
    amplitude *= np.sqrt(2 / (amplitude**2).sum())
    spectrum = np.zeros(513, np.complex128)
    spectrum[waves] = amplitude * np.exp(1j * rng.uniform(0, 2 * np.pi, len(waves))) * 512
    line = np.fft.irfft(spectrum)
    places = np.linspace(0, 2, 1024, endpoint=False)
    return np.interp(points, places, line).astype(np.float32)
