"""Photograph against generated in NumPy float64, written from its definition.

Shares nothing with the torch modules but the settings; see `TileStatistics` and `RealHead` of
`lineup_models.fingerprint` for the formulas.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lineup.types import RgbTiles
from lineup_export.fingerprint.reference import lattice_contrasts, log_spectrum, residuals
from lineup_models.fingerprint.real_head import RealWeights
from lineup_models.fingerprint.spec import SpectrumSpec

Float64Array = npt.NDArray[np.float64]


def real_llrs_reference(
    tiles: RgbTiles,
    tile_weights: npt.NDArray[np.floating],
    spec: SpectrumSpec,
    real: RealWeights,
) -> Float64Array:
    """Return one log likelihood ratio per row of `tile_weights`.

    Args:
        tiles: (tiles, size, size, 3), uint8 RGB.
        tile_weights: (images, tiles); row i holds 1/T_i at image i's tiles and 0 elsewhere.
        spec: Constants of the spectrum.
        real: The head.

    Returns:
        (images,), photograph against generated.
    """
    statistics = np.stack([_statistics(tile, spec) for tile in tiles])
    standardised = np.clip((statistics - real.mean) / real.deviation, -6, 6)
    generated = standardised @ real.weights + real.bias
    ratio = np.clip(-(tile_weights.astype(np.float64) @ generated), -20, 20)
    odd, traceless = np.log(real.odd), np.log(real.traceless)
    photograph = np.logaddexp(ratio + np.log(1 - real.odd), odd)
    claim: Float64Array = photograph - np.logaddexp(ratio + traceless, np.log(1 - real.traceless))
    return claim


def _statistics(tile: npt.NDArray[np.uint8], spec: SpectrumSpec) -> Float64Array:
    """Return lattice contrasts, log energies, log variances and correlations of one tile."""
    red, green, blue = np.moveaxis(tile.astype(np.float64), 2, 0)
    energies = [
        np.log(np.minimum(np.diff(plane, n=order, axis=axis) ** 2, 900).mean() + 0.05)
        for plane in ((red + green + blue) / 3, red - green, blue - green)
        for order in (1, 2)
        for axis in (0, 1)
    ]
    r, g, b = np.moveaxis(residuals(tile, spec), 2, 0)
    noises = (r, g, b, (r + g + b) / 3, r - g, b - g)
    variances = [np.log((noise**2).mean() + 0.01) for noise in noises]
    correlations = [
        (one * other).mean() / np.sqrt((one**2).mean() * (other**2).mean() + 1e-3)
        for one, other in ((r, g), (g, b), (r, b))
    ]
    contrasts = lattice_contrasts(log_spectrum(tile, spec))
    return np.concatenate([contrasts, energies, variances, correlations])
