"""The mean residual spectrum of a source: the picture of its fingerprint.

The residual is the grey image minus its local mean, damped where the local energy exceeds that of
noise; the spectrum is log(1 + |F|) of its orthonormal Fourier transform, averaged over the tiles of
an image and over images. These are the first steps of the shipped fingerprint, computed in double
precision for the eye: no pooling, no whitening.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from lineup.errors import UsageError
from lineup.imaging.tiles import TileSpec, tiles_from_image
from lineup.stream import StreamedImage, rows_from_paths
from lineup.types import Float64Array, RgbImage, RgbTiles
from lineup_lab.dataset import SourceFolder

TILE = TileSpec(size_px=256, max_tiles=4)
WINDOW_PX = 5
NOISE_SIGMA = 10.0
"""Standard deviation of noise, in grey levels of 0..255, beyond which a residual is damped."""


def residual_from_grey(grey: Float64Array) -> Float64Array:
    """Return (x - m) s^2 / (v + s^2), m and v the window's mean and variance, s = `NOISE_SIGMA`.

    Args:
        grey: Shape (height, width), float64, 0..255; continued by reflection at the border.
    """
    window = (WINDOW_PX, WINDOW_PX)
    # Relative to mid-grey, so that the variance loses no digits to cancellation.
    centred = grey - 128.0
    mean = cv2.blur(centred, window, borderType=cv2.BORDER_REFLECT_101)
    square = cv2.blur(centred * centred, window, borderType=cv2.BORDER_REFLECT_101)
    variance = np.maximum(square - mean * mean, 0.0)
    noise = NOISE_SIGMA**2
    return np.asarray((centred - mean) * noise / (variance + noise), np.float64)


def spectrum_from_tiles(tiles: RgbTiles) -> Float64Array:
    """Return the mean log-spectrum of an image's tiles, zero frequency in the middle.

    Args:
        tiles: Shape (tiles, size, size, 3), uint8 RGB.

    Returns:
        Shape (size, size), float64, >= 0: row and column -size/2..size/2 - 1 cycles per tile.
    """
    total = np.zeros(tiles.shape[1:3])
    for tile in tiles:
        residual = residual_from_grey(tile.astype(np.float64).mean(axis=2))
        total += np.log1p(np.abs(np.fft.fft2(residual, norm="ortho")))
    return np.fft.fftshift(total / len(tiles))


def mean_spectra(
    folders: Sequence[SourceFolder],
    *,
    limit: int | None = None,
    on_file: Callable[[StreamedImage], None] = lambda _: None,
) -> dict[str, Float64Array]:
    """Return the mean spectrum of every source; `limit` images are spread over its sorted files.

    Returns:
        Shape (256, 256), float64, per source.

    Raises:
        UsageError: A source has no readable image.
    """
    spectra = {}
    for folder in folders:
        total = np.zeros((TILE.size_px, TILE.size_px))
        used = 0
        paths = _spread(folder.paths, limit)
        for image, spectrum in rows_from_paths(paths, _Cutter(), _spectra_from_tiles):
            if spectrum is not None:
                total += spectrum
                used += 1
            on_file(image)
        if not used:
            raise UsageError(
                f"Source {folder.name!r} has no readable image out of {len(folder.paths)}.",
                hint="Add images to the folder, or take it away.",
            )
        spectra[folder.name] = total / used
    return spectra


def relative_spectra(
    spectra: dict[str, Float64Array], reference: Sequence[str]
) -> dict[str, Float64Array]:
    """Return the spectra of all other sources minus the mean over the reference sources."""
    level = np.mean([spectra[name] for name in reference], axis=0)
    return {name: one - level for name, one in spectra.items() if name not in reference}


class _Cutter:
    """Cuts images as the figure shows them, whatever the fingerprint takes."""

    def tiles(self, pixels: RgbImage) -> RgbTiles:
        return tiles_from_image(pixels, TILE)

    def notes(self, pixels: RgbImage) -> tuple[str, ...]:
        return ()


def _spectra_from_tiles(images: Sequence[RgbTiles]) -> Float64Array:
    return np.stack([spectrum_from_tiles(tiles) for tiles in images])


def _spread(paths: Sequence[Path], limit: int | None) -> Sequence[Path]:
    if limit is None or len(paths) <= limit:
        return paths
    return [paths[index * len(paths) // limit] for index in range(limit)]
