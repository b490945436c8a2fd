"""Fitting the head that tells photographs from generated images.

Photographs against their reconstructions by simulated generators; no image of a real generator.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from lineup.imaging.decode import bytes_from_path, image_from_bytes
from lineup.types import AnyArray, Float32Array, RgbImage
from lineup_models.fingerprint.histories import photograph_tiles, reconstruction_tiles
from lineup_models.fingerprint.lattice import LatticeContrast
from lineup_models.fingerprint.photographs import HOLD_OUT_RULE, split_photographs
from lineup_models.fingerprint.real_head import DEVIATIONS_MAX, RealWeights
from lineup_models.fingerprint.spec import SpectrumSpec
from lineup_models.fingerprint.spectrum import PooledSpectrum
from lineup_models.fingerprint.statistics import STATISTICS, TileStatistics, check_spec
from lineup_models.simulator.bank_reader import bank_images

Watch = Callable[[Iterable[RgbImage]], Iterable[RgbImage]]
"""Wraps the tiles while they are gone through, e.g. with a progress bar."""


@dataclass(frozen=True, slots=True)
class RealOptions:
    """How the head is fitted.

    Attributes:
        hold_out: Photographs that are never used, for evaluation.
        ridge: Of the logistic regression on standardised statistics.
        traceless: See `RealWeights`.
        odd: See `RealWeights`.
        seed: Of crops and histories.
    """

    hold_out: int = 150
    ridge: float = 0.01
    traceless: float = 0.5
    odd: float = 0.05
    seed: int = 0


def fit_real_head(
    photos: Path,
    bank: Path,
    spec: SpectrumSpec,
    options: RealOptions,
    *,
    watch: Watch = lambda tiles: tiles,
) -> tuple[RealWeights, dict[str, Any]]:
    """Fit the head; the same files, settings and library versions give the same numbers.

    Args:
        photos: Folder of photographs, searched recursively; each at least a tile a side.
        bank: Bank of reconstructions that kept its images.
        spec: Constants of the spectrum.
        options: How.
        watch: Wraps the tiles as they are gone through.

    Returns:
        The head, and its record (plain JSON values).

    Raises:
        UsageError: The spectrum gives no residual per channel, the bank kept no images, or there
            are too few photographs.
        ImageError: A photograph cannot be decoded.
    """
    started = time.perf_counter()
    check_spec(spec)
    split = split_photographs(photos, options.hold_out)
    photographs = (image_from_bytes(bytes_from_path(path)).pixels for path in split.fit)
    random = np.random.default_rng([options.seed, 0])
    real = _statistics(watch(photograph_tiles(photographs, spec.tile_size_px, random)), spec)
    random = np.random.default_rng([options.seed, 1])
    generated = _statistics(watch(reconstruction_tiles(bank_images(bank), random)), spec)
    weights = real_weights_from_statistics(real, generated, options)
    record = {
        "photographs": len(split.fit),
        "photographs_held_out": len(split.held_out),
        "hold_out_rule": HOLD_OUT_RULE,
        "tiles_of_photographs": len(real),
        "tiles_of_reconstructions": len(generated),
        "options": asdict(options),
        "seconds": round(time.perf_counter() - started, 1),
    }
    return weights, record


def real_weights_from_statistics(
    real: AnyArray, generated: AnyArray, options: RealOptions
) -> RealWeights:
    """Fit the regression, both classes with the same weight.

    Args:
        real: Statistics of photographs' tiles, (n, statistics).
        generated: Statistics of reconstructions' tiles, (m, statistics).
        options: How.
    """
    rows = np.concatenate([real, generated]).astype(np.float64)
    mean, deviation = rows.mean(axis=0), rows.std(axis=0)
    # Statistics that never vary carry nothing; a deviation of 1 keeps them finite.
    deviation = np.where(deviation > 0, deviation, 1.0)
    standardised = np.clip((rows - mean) / deviation, -DEVIATIONS_MAX, DEVIATIONS_MAX)
    labels = np.repeat([0, 1], [len(real), len(generated)])
    shares = np.repeat([0.5 / len(real), 0.5 / len(generated)], [len(real), len(generated)])
    # The ridge is on the weights of both classes, half of the difference each: hence the 2.
    fit = LogisticRegression(C=2 / options.ridge, tol=1e-8, max_iter=1000)
    fit.fit(standardised, labels, sample_weight=shares)
    return RealWeights(
        mean=mean,
        deviation=deviation,
        weights=fit.coef_[0],
        bias=float(fit.intercept_[0]),
        traceless=options.traceless,
        odd=options.odd,
    )


def _statistics(tiles: Iterable[RgbImage], spec: SpectrumSpec) -> Float32Array:
    """Return the statistics of each tile, float32 (tiles, statistics)."""
    spectrum, lattice = PooledSpectrum(spec).eval(), LatticeContrast(spec.tile_size_px).eval()
    statistics = TileStatistics()
    rows: list[Float32Array] = []
    with torch.inference_mode():
        for tile in tiles:
            batch = torch.from_numpy(tile[None])
            residuals = spectrum.residuals(batch)
            contrasts = lattice(spectrum.levels_from_residuals(residuals))
            pixels = batch.permute(0, 3, 1, 2).to(torch.float32)
            rows.append(torch.cat([contrasts, statistics(pixels, residuals)], 1)[0].numpy())
    return np.stack(rows) if rows else np.empty((0, STATISTICS), np.float32)
